use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, HOST, InvalidHeaderValue};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::BodyExt;
use ring::{digest, hmac};
use sevenhops::client::{ClientBuilder, InnerService};
use sevenhops::{Body, Client, ConfigError};
use tower::layer::layer_fn;
use tower::{Service, ServiceExt, service_fn};

/// The credentials of one AWS service in one region.
pub(crate) struct Signer {
    pub(crate) key_id: String,
    pub(crate) secret: String,
    pub(crate) region: &'static str,
    pub(crate) service: &'static str,
}

impl Signer {
    /// Signs a request with its body (AWS Signature Version 4), as S3 expects it. For other services, encode the path
    /// a second time. All headers that the request has are signed, except those that a proxy may change.
    pub(crate) fn sign(
        &self,
        request: &mut Request<impl Sized>,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), InvalidHeaderValue> {
        let time = humantime::format_rfc3339_seconds(now).to_string();
        let time: String = time.chars().filter(|c| !"-:".contains(*c)).collect();
        let hash = hex(digest::digest(&digest::SHA256, body).as_ref());
        let host = request
            .uri()
            .authority()
            .map_or("", |authority| authority.as_str());
        let host = HeaderValue::try_from(host)?;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(DATE, HeaderValue::try_from(&time)?);
        headers.insert(HASH, HeaderValue::try_from(&hash)?);

        let (signed, canonical) = canonical(request, &hash);
        let scope = format!(
            "{}/{}/{}/aws4_request",
            &time[..8],
            self.region,
            self.service
        );
        let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let secret = format!("AWS4{}", self.secret).into_bytes();
        let parts = [&time[..8], self.region, self.service, "aws4_request"];
        let key = parts.iter().fold(secret, |key, part| mac(&key, part));
        let signature = hex(&mac(&key, &text));
        let line = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={signed},Signature={signature}",
            self.key_id
        );
        let mut line = HeaderValue::try_from(line)?;
        line.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, line);
        Ok(())
    }
}

/// Returns the names of the signed headers, and the text to sign.
fn canonical(request: &Request<impl Sized>, hash: &str) -> (String, String) {
    let is_signed = |name: &&HeaderName| !UNSIGNED.contains(&name.as_str());
    let mut names: Vec<_> = request.headers().keys().filter(is_signed).collect();
    names.sort_by_key(|name| name.as_str());
    let mut lines = String::new();
    for name in &names {
        let values = request.headers().get_all(*name).iter();
        let values = values
            .filter_map(|value| value.to_str().ok())
            .map(str::trim);
        let values = values.collect::<Vec<_>>().join(",");
        let _ = writeln!(lines, "{name}:{values}");
    }
    let pairs = request.uri().query().unwrap_or_default().split('&');
    let mut pairs: Vec<_> = pairs.filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    let pairs = pairs.into_iter().map(|pair| match pair.contains('=') {
        true => pair.to_owned(),
        false => format!("{pair}="),
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    let names: Vec<_> = names.into_iter().map(HeaderName::as_str).collect();
    let signed = names.join(";");
    let (method, path) = (request.method(), request.uri().path());
    let text = format!("{method}\n{path}\n{query}\n{lines}\n{signed}\n{hash}");
    (signed, text)
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// Proxies, and the propagation of traces and deadlines, may change these.
const UNSIGNED: [&str; 6] = [
    "accept-encoding",
    "authorization",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
];

/// Returns a client that signs each attempt. `now` is `SystemTime::now`.
pub(crate) fn client_with(
    signer: Signer,
    now: fn() -> SystemTime,
    client: ClientBuilder,
) -> Result<Client, ConfigError> {
    let signer = Arc::new(signer);
    let layer = layer_fn(move |inner: InnerService| {
        let signer = Arc::clone(&signer);
        service_fn(move |request: Request<Body>| {
            let (mut inner, signer) = (inner.clone(), Arc::clone(&signer));
            async move {
                // The signature covers the body, so all of it is in memory.
                let (head, body) = request.into_parts();
                let bytes = body.collect().await?.to_bytes();
                let mut request = Request::from_parts(head, Body::from(bytes.clone()));
                signer.sign(&mut request, &bytes, now())?;
                let response = inner.ready().await?.call(request).await?;
                Ok::<_, Box<dyn Error + Send + Sync>>(response)
            }
        })
    });
    client.attempt_layer(layer).build()
}
