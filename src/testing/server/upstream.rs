//! Forwards requests to a real server.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::ledger::RecordedRequest;
use super::reply::CannedResponse;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Sends a request to the upstream over a new connection. Returns a 502 if that fails.
pub(crate) async fn forward(
    upstream: Option<SocketAddr>,
    seen: &RecordedRequest,
) -> CannedResponse {
    let failed = |why: &str| CannedResponse::new(StatusCode::BAD_GATEWAY).body(why.to_owned());
    let Some(upstream) = upstream else {
        return failed("no upstream");
    };
    ask(upstream, seen)
        .await
        .unwrap_or_else(|error| failed(&error.to_string()))
}

async fn ask(upstream: SocketAddr, seen: &RecordedRequest) -> Result<CannedResponse, AnyError> {
    let tcp = TcpStream::connect(upstream).await?;
    tcp.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    let exchange = async {
        let response = sender.send_request(request(seen)?).await?;
        let (head, body) = response.into_parts();
        let mut canned = CannedResponse::new(head.status).body(body.collect().await?.to_bytes());
        canned.headers = head.headers;
        for name in PER_CONNECTION {
            canned.headers.remove(name);
        }
        Ok::<_, AnyError>(canned)
    };
    tokio::select! {
        biased;
        canned = exchange => canned,
        Err(error) = connection => Err(error.into()),
    }
}

fn request(seen: &RecordedRequest) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::builder()
        .method(&seen.method)
        .uri(&seen.target)
        .body(Full::new(seen.body.clone()))?;
    *request.headers_mut() = seen.headers.clone();
    request.headers_mut().remove(CONTENT_LENGTH);
    for name in PER_CONNECTION {
        request.headers_mut().remove(name);
    }
    Ok(request)
}

/// Headers that belong to one connection (RFC 9110 §7.6.1).
const PER_CONNECTION: [HeaderName; 4] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
];
