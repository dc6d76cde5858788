//! The gateway for SDKs that accept nothing but a base URL, through raw connections.

mod ends;
mod failures;
mod messages;
mod streams;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use sevenhops::policy::retry::Backoff;
use sevenhops::{Client, Config, RetryConfig};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

type RawBody = UnsyncBoxBody<Bytes, Infallible>;

/// Sends a request over a connection of its own, as it is.
async fn send(request: Request<RawBody>) -> hyper::Result<Response<Incoming>> {
    let authority = request.uri().authority().unwrap().to_string();
    let stream = TcpStream::connect(authority).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (mut head, body) = request.into_parts();
    let host = head.uri.authority().unwrap().as_str().parse().unwrap();
    head.headers.insert("host", host);
    head.uri = Uri::from(head.uri.path_and_query().unwrap().clone());
    sender.send_request(Request::from_parts(head, body)).await
}

async fn get(url: impl AsRef<str>) -> Response<Incoming> {
    let request = Request::get(url.as_ref()).body(none()).unwrap();
    send(request).await.unwrap()
}

fn none() -> RawBody {
    Empty::new().boxed_unsync()
}

fn bytes(bytes: impl Into<Bytes>) -> RawBody {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body of the pieces that the test sends; it has no known length.
struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

async fn whole(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// A client with two attempts.
fn client() -> Client {
    let backoff = Backoff::new().base(Duration::from_millis(20));
    let retry = RetryConfig::new().attempts(2).unsent_attempts(2);
    let config = Config::new(Duration::from_secs(10)).retry(retry.backoff(backoff));
    Client::builder_from_config(config).build().unwrap()
}
