//! The gateway: a server inside the process, for SDKs that accept nothing but a base URL.

mod cookies;
mod exchange;
mod failure;
mod request_body;
mod serve;
mod url_map;

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};

use http::Uri;
use tokio::net::TcpListener as AsyncTcpListener;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use self::exchange::Exchange;
use self::url_map::UrlMap;
use crate::box_error::BoxError;
use crate::client::{Address, Client, IntoUrl};
use crate::config_error::ConfigError;
use crate::redact::redacted;

/// Serves on loopback, and sends each request through the client's whole stack to `upstream`. For SDKs that accept
/// nothing but a base URL. (Feature `gateway`.)
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
/// use sevenhops::{sdk, Client};
/// # struct Search;
/// # impl Search { fn new(_base: &str) -> Self { Self } }
///
/// # async fn f() -> Result<(), sevenhops::ConfigError> {
/// let client = Client::builder(Duration::from_secs(10)).build()?;
/// let gateway = sdk::gateway(&client, "https://search.test")?;
/// let search = Search::new(gateway.url()); // keep `gateway` as long as the SDK
/// # drop(search); Ok(()) }
/// ```
///
/// # Protects from
///
/// The SDK's own HTTP client: its pool that does not follow DNS, its retries of payments, its missing deadline.
///
/// # Defaults
///
/// | part | what the gateway does |
/// |---|---|
/// | listener | HTTP/1.1 on 127.0.0.1, on a free port. Other machines cannot reach it |
/// | path prefix | 128 random bits of the operating system. A request without it gets a 404, and nothing is sent |
/// | path and query | passed on as they are, below the path of `upstream` |
/// | `Host`, TLS, HTTP version | those of `upstream`: the SDK sees neither |
/// | headers | passed on, except those of one hop (RFC 9110 §7.6.1), in both directions |
/// | request body of at most 64 KiB, of known length | received whole, so it can be retried |
/// | any other request body | streamed, and sent once |
/// | response body | streamed, and not decoded |
/// | `Location`, `Content-Location` | a URL of the upstream becomes one of the gateway |
/// | `Set-Cookie` | `Path` becomes one of the gateway; `Secure` and the upstream's `Domain` are removed |
/// | `Referer` | a URL of the gateway becomes one of the upstream, or is removed: the prefix stays secret |
/// | connections | at most 1,024 at a time. One that is idle for 5 minutes is closed |
///
/// # Reports
///
/// A response of the upstream is passed on, whatever its status. If the call fails without a response, the SDK gets a
/// 504 for a timeout, otherwise a 502. The response names the failure in the headers `Sevenhops-Hop`,
/// `Sevenhops-Kind` and `Sevenhops-Effect`. Its body has the same fields and the error's text, as problem details (RFC
/// 9457):
///
/// ```json
/// {"title": "Bad Gateway", "status": 502, "hop": "connect", "kind": "refused", "effect": "none", "attempts": 3,
///  "detail": "GET https://search.test/books failed at connect (hop 2 of 7): refused; 3 attempts, no effect"}
/// ```
///
/// If the body of a response breaks off, the gateway closes the SDK's connection.
///
/// Spans, metrics and timelines are those of the client.
///
/// # Errors
///
/// Fails if `upstream` is not an `http` or `https` URL, or if it has userinfo, a query or a fragment. Fails outside a
/// tokio runtime, and if the process can open no listener.
///
/// # Cancel safety
///
/// If the SDK closes its connection, its call is given up. If the [`Gateway`] is dropped, the listener, all
/// connections and their calls end.
///
/// # Trade-offs
///
/// Each request takes an extra connection on loopback. The calls run in tasks of the gateway: an
/// [`Operation`](crate::Operation) or [`observe`](crate::sdk::observe) around the SDK's call does not see them.
///
/// Only the headers above are rewritten. A URL of the upstream in a body or in `Link` bypasses the gateway. With endpoints
/// for a logical name, so does the `Location` of an endpoint.
///
/// # How people get it wrong
///
/// - The handle is dropped at the end of a function, and the SDK's next call is refused.
/// - The SDK joins URLs as browsers do. Then its base URL must end with a slash: `format!("{}/", gateway.url())`. An
///   SDK that replaces the whole path loses the prefix, and gets a 404.
/// - The SDK signs the host (AWS Signature Version 4). It signs that of the gateway, and the service refuses it.
/// - The SDK's own retries stay on. Each of them is another call, with its own attempts.
/// - The SDK's own redirects stay on. A redirect to another host that the client refused reaches the SDK with its
///   absolute `Location`. The SDK then bypasses the gateway, and shows its secret URL to that host in `Referer`.
pub fn gateway(client: &Client, upstream: impl IntoUrl) -> Result<Gateway, ConfigError> {
    let upstream = base(upstream)?;
    let shown = redacted(&upstream);
    let runtime = Handle::try_current();
    let runtime = runtime.map_err(|_| ConfigError::refused(PATH, "call it in a tokio runtime"))?;
    let _inside = runtime.enter();
    let failed = |error: BoxError| ConfigError::failed(PATH, error);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| failed(e.into()))?;
    listener
        .set_nonblocking(true)
        .map_err(|e| failed(e.into()))?;
    let listener = AsyncTcpListener::from_std(listener).map_err(|e| failed(e.into()))?;
    let addr = listener.local_addr().map_err(|e| failed(e.into()))?;
    let mut token = [0; TOKEN_BYTES];
    getrandom::fill(&mut token).map_err(|e| failed(e.into()))?;
    let urls = UrlMap::new(addr, u128::from_ne_bytes(token), &upstream).map_err(failed)?;
    let url = urls.gateway().to_owned();
    let serving = runtime.spawn(serve::serve(listener, Exchange::new(client, urls)));
    Ok(Gateway {
        url,
        upstream: shown,
        serving: serving.abort_handle(),
    })
}

/// A running gateway: see [`gateway`]. It ends when this handle is dropped.
#[must_use = "the gateway ends when its handle is dropped"]
pub struct Gateway {
    url: String,
    upstream: String,
    serving: AbortHandle,
}

impl Gateway {
    /// Returns the base URL to give to the SDK, without a slash at its end. It is a secret: every process on this
    /// machine that knows it can send requests to the upstream.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl fmt::Debug for Gateway {
    /// Leaves the URL out: its prefix is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

/// Returns the URL of the upstream, if it can be the base of other URLs.
fn base(upstream: impl IntoUrl) -> Result<Uri, ConfigError> {
    let address = upstream.into_address();
    let url = address
        .and_then(Address::into_url)
        .map_err(|error| ConfigError::failed(PATH, error))?;
    let is_http = matches!(url.scheme(), "http" | "https");
    let has_userinfo = !url.username().is_empty() || url.password().is_some();
    let uri: Uri = url.as_str().parse().unwrap_or_default();
    if !is_http || has_userinfo || url.query().is_some() || url.fragment().is_some() {
        let expected = "an http or https URL without userinfo, query and fragment";
        return Err(ConfigError::invalid(PATH, redacted(&uri), expected));
    }
    Ok(uri)
}

const PATH: &str = "gateway.upstream";
const TOKEN_BYTES: usize = 16;

#[cfg(test)]
mod tests;
