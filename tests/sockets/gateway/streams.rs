//! Bodies in both directions: streamed, and sent again only if they can be.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sevenhops::sdk;
use sevenhops::testing::{CannedResponse, FaultServer, Gate, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Pieces, RawBody, bytes, client, get, none, send};

/// Starts a server that returns each body while it arrives.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let echo = service_fn(async |request: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(request.into_body()))
            });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(stream), echo));
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn each_piece_passes_before_the_next_one_is_sent() {
    let gateway = sdk::gateway(&client(), echo().await).unwrap();
    let (pieces, body) = mpsc::unbounded_channel();
    let request = Request::post(gateway.url()).body(Pieces(body).boxed_unsync());
    let mut response = send(request.unwrap()).await.unwrap();
    for piece in ["first", "second", "third"] {
        pieces.send(Bytes::from(piece)).unwrap();
        let frame = response.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(pieces);
    assert!(response.frame().await.is_none());
}

#[tokio::test]
async fn large_body_passes_whole_in_both_directions() {
    let gateway = sdk::gateway(&client(), echo().await).unwrap();
    let large: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
    let request = Request::put(gateway.url()).body(bytes(large.clone()));
    let response = send(request.unwrap()).await.unwrap();
    let returned = response.into_body().collect().await.unwrap().to_bytes();
    assert!(returned == large);
}

#[tokio::test]
async fn head_of_a_response_does_not_wait_for_its_body() {
    let server = FaultServer::start().await.unwrap();
    let gate = Gate::new();
    server.default_reply(CannedResponse::json("[]").hold_body(&gate));
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let response = get(gateway.url()).await;
    gate.open();
    assert_eq!(super::whole(response).await, "[]");
}

#[tokio::test]
async fn only_a_body_that_can_be_sent_again_is_retried() {
    let chunked = || {
        let (pieces, body) = mpsc::unbounded_channel();
        pieces.send(Bytes::from("text")).unwrap();
        Pieces(body).boxed_unsync()
    };
    let kept = vec![b'x'; 64 << 10];
    let rows: [(&str, RawBody, usize); 5] = [
        ("none", none(), 2),
        ("small", bytes("text"), 2),
        ("kept", bytes(kept.clone()), 2),
        ("long", bytes([kept, vec![b'x']].concat()), 1),
        ("chunked", chunked(), 1),
    ];
    for (name, body, attempts) in rows {
        let server = FaultServer::start().await.unwrap();
        server.default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
        let gateway = sdk::gateway(&client(), server.url("")).unwrap();
        let put = Request::put(gateway.url()).body(body).unwrap();
        assert_eq!(send(put).await.unwrap().status(), 503, "{name}");
        assert_eq!(server.requests_seen(), attempts, "{name}");
        let bodies = server.requests();
        assert!(
            bodies.iter().all(|seen| seen.body == bodies[0].body),
            "{name}"
        );
    }
}

#[tokio::test]
async fn body_is_asked_for_only_when_it_is_expected() {
    let server = FaultServer::start().await.unwrap();
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let (authority, path) = gateway.url()[7..].split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let head = format!(
        "PUT /{path} HTTP/1.1\r\nhost: {authority}\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"text").await.unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    assert_eq!(server.requests()[0].body, "text");
}

#[tokio::test]
async fn body_that_breaks_off_breaks_off_for_the_sdk_too() {
    let server = FaultServer::start().await.unwrap();
    let sent = Bytes::from_static(b"{\"ok\":");
    server.default_reply(Reply::TruncateBody {
        declared: 100,
        sent,
    });
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let response = get(gateway.url()).await;
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());
}
