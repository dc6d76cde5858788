//! A tunnel through an HTTP proxy (RFC 9110 §9.3.6).

use std::future::{Future, poll_fn};
use std::net::Ipv6Addr;
use std::pin::pin;

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::box_error::BoxError;
use crate::hop::{Kind, TunnelRefused};
use crate::transport::wire::stream::Stream;

/// Asks the proxy for a tunnel.
pub(super) async fn connect(
    stream: Stream,
    builder: &http1::Builder,
    request: Request<Empty<Bytes>>,
) -> Result<Stream, BoxError> {
    let (mut requests, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let asking = async move {
        let response = requests.send_request(request).await.map_err(broken)?;
        if !response.status().is_success() {
            return Err(refused(&response).into());
        }
        let tunnel = hyper::upgrade::on(response).await.map_err(broken)?;
        let parts = tunnel
            .downcast::<TokioIo<Stream>>()
            .map_err(|_| broken("lost"))?;
        match parts.read_buf.is_empty() {
            true => Ok(parts.io.into_inner()),
            false => Err(broken("it sent bytes before the tunnel was used")),
        }
    };
    alongside(asking, connection.with_upgrades()).await
}

/// The request for a tunnel to a destination.
pub(super) fn request(
    (host, port): (&str, u16),
    authorization: Option<&HeaderValue>,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let authority = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    };
    let uri = Uri::builder().authority(authority.as_str()).build()?;
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(uri)
        .header(HOST, authority)
        .body(Empty::new())?;
    if let Some(authorization) = authorization {
        let headers = request.headers_mut();
        headers.insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    Ok(request)
}

fn refused<B>(response: &Response<B>) -> TunnelRefused {
    // The proxy's own reason (RFC 9209).
    let said = response.headers().get("proxy-status");
    let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
    TunnelRefused {
        kind: kind(response.status()),
        status: Some(response.status()),
        why: said.chars().take(MOST_SAID).collect(),
    }
}

/// Returns the kind of a refusal by its status.
fn kind(status: StatusCode) -> Kind {
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => Kind::ProxyUnauthorized,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Kind::ProxyRefused
        }
        StatusCode::NOT_IMPLEMENTED => Kind::ProxyDenied,
        // The proxy's rules would not allow a second request either.
        _ if status.is_redirection() || status.is_client_error() => Kind::ProxyDenied,
        _ => Kind::ProxyRefused,
    }
}

fn broken(error: impl Into<BoxError>) -> BoxError {
    let error: BoxError = error.into();
    Box::new(TunnelRefused {
        kind: Kind::ProxyRefused,
        status: None,
        why: format!("no HTTP response to CONNECT ({error})"),
    })
}

/// Polls the future that drives a connection together with the future that waits for it.
async fn alongside<T>(waiting: impl Future<Output = T>, driver: impl Future) -> T {
    let mut waiting = pin!(waiting);
    let mut driver = pin!(driver);
    let mut is_driven = false;
    poll_fn(|cx| {
        is_driven = is_driven || driver.as_mut().poll(cx).is_ready();
        waiting.as_mut().poll(cx)
    })
    .await
}

/// The number of bytes of a header's value that an error shows.
const MOST_SAID: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_transient_unless_its_status_is_permanent() {
        for (statuses, expected) in [
            (&[407][..], Kind::ProxyUnauthorized),
            (
                &[301, 302, 307, 400, 403, 404, 405, 451, 501],
                Kind::ProxyDenied,
            ),
            (&[408, 425, 429, 500, 502, 503, 504], Kind::ProxyRefused),
        ] {
            for status in statuses {
                let status = StatusCode::from_u16(*status).unwrap();
                assert_eq!(kind(status), expected, "{status}");
            }
        }
    }
}
