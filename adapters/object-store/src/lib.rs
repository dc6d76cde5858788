#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use http::uri::Scheme;
use http_body_util::BodyExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use sevenhops::{
    Body, ConfigError, Error, Options, Response, StandardLayer, StandardService, Timeouts,
    Transport,
};
use tower::ServiceExt;

/// The HTTP of a store, over the whole stack of sevenhops: objects, listings, credentials. Cheap to clone.
///
/// # Cancel safety
///
/// If the store drops a request, the call is given up.
#[derive(Clone, Debug)]
pub struct StackConnector {
    service: StandardService<Transport>,
}

impl StackConnector {
    /// Creates a connector whose calls end within `deadline`, to the last byte of an object.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is out of range, or if the system's name servers or roots cannot be read.
    pub fn new(deadline: Duration) -> Result<Self, ConfigError> {
        let transport = Transport::new(Timeouts::new(deadline)?)?;
        Ok(Self::over(StandardLayer::new(deadline)?.over(transport)))
    }

    /// Creates a connector over a stack of yours.
    #[must_use]
    pub fn over(service: StandardService<Transport>) -> Self {
        Self { service }
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut head, body) = request.into_parts();
        // The store signed the request for this host. No store reads a key from this header.
        let options = head.extensions.remove::<Options>().unwrap_or_default();
        let options = options.generate_key(false);
        // A read may be redirected. Another host that it leads to does not get the credentials.
        head.extensions.insert(match head.method.is_safe() {
            true => options,
            false => options.follow_redirects(false),
        });
        let body = body.collect().await?.to_bytes(); // it is in memory
        let request = http::Request::from_parts(head, Body::from(body));
        let mut response = self
            .service
            .clone()
            .oneshot(request)
            .await
            .map_err(failed)?;
        // The store would retry these, whatever the request does. The stack has made all safe retries.
        let is_judged = matches!(response.status().as_u16(), 408 | 429 | 500..);
        let timeline = response.body().timeline().clone();
        if is_judged || timeline.is_in_doubt(response.status()) {
            timeline.insert_into(response.extensions_mut());
            let (head, body) = response.into_parts();
            let status = http::Response::from_parts(head.clone(), Body::empty());
            Response::from(status).error_for_status().map_err(failed)?;
            response = http::Response::from_parts(head, body);
        }
        Ok(response.map(|body| HttpResponseBody::new(body.map_err(failed))))
    }
}

impl HttpConnector for StackConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // The second is for the store's own metadata clients.
        let connect = Duration::from_secs(1);
        let usual = [
            ClientOptions::new(),
            ClientOptions::new().with_connect_timeout(connect),
        ];
        let is_set = |key: &&_| {
            let value = options.get_config_value(key);
            usual
                .iter()
                .all(|usual| usual.get_config_value(key) != value)
        };
        if let Some(key) = NOT_USED.iter().find(is_set) {
            let refused = format!("the client option {key:?} is not used: set it on the stack");
            let source = refused.into();
            return Err(object_store::Error::NotSupported { source });
        }
        let http = options.get_config_value(&ClientConfigKey::AllowHttp);
        Ok(HttpClient::new(Service {
            stack: self.clone(),
            is_http_allowed: http.as_deref() == Some("true"),
        }))
    }
}

/// The stack for one client of a store.
#[derive(Clone, Debug)]
struct Service {
    stack: StackConnector,
    is_http_allowed: bool,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !self.is_http_allowed && request.uri().scheme() == Some(&Scheme::HTTP) {
            let refused = io::Error::new(io::ErrorKind::InvalidInput, "http is not allowed");
            return Err(HttpError::new(HttpErrorKind::Unknown, refused));
        }
        self.stack.send(request).await
    }
}

/// The options of object_store's own client. The stack would ignore them, so they are refused. Headers and roots cannot
/// be read.
const NOT_USED: [ClientConfigKey; 18] = [
    ClientConfigKey::AllowInvalidCertificates,
    ClientConfigKey::NoSystemCertificates,
    ClientConfigKey::ConnectTimeout,
    ClientConfigKey::ReadTimeout,
    ClientConfigKey::Http1Only,
    ClientConfigKey::Http2KeepAliveInterval,
    ClientConfigKey::Http2KeepAliveTimeout,
    ClientConfigKey::Http2KeepAliveWhileIdle,
    ClientConfigKey::Http2MaxFrameSize,
    ClientConfigKey::Http2Only,
    ClientConfigKey::PoolIdleTimeout,
    ClientConfigKey::PoolMaxIdlePerHost,
    ClientConfigKey::ProxyUrl,
    ClientConfigKey::ProxyCaCertificate,
    ClientConfigKey::ProxyExcludes,
    ClientConfigKey::RandomizeAddresses,
    ClientConfigKey::Timeout,
    ClientConfigKey::UserAgent,
];

/// Converts an error. `Unknown` means in the store's terms: no retry.
fn failed(error: Error) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}
