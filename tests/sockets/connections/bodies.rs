//! Tests that the end of a response body is checked.

use std::io;

use bytes::Bytes;
use h2::Reason;
use http::StatusCode;
use sevenhops::testing::{CannedResponse, Gate};
use sevenhops::{Body, Effect, Error, Hop, Kind};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::raw::{END_STREAM, Peer, data, go_away, head, http2_client, read_head, reset, serve};
use crate::net::{Net, url};

/// The frames of a response.
type Frames = Vec<Vec<u8>>;
/// Returns the response on a stream.
type Respond = fn(u32) -> Frames;

/// Returns the result of a GET whose response is these frames.
async fn over_http2(frames: Respond, closes: bool) -> Result<Bytes, Error> {
    let net = Net::new().await;
    let address = serve(move |stream, _| async move {
        let mut peer = Peer::accept(stream, 100).await?;
        loop {
            let stream = peer.request().await?;
            peer.write(&frames(stream)).await?;
            if closes {
                return peer.stream.shutdown().await;
            }
        }
    })
    .await;
    let client = http2_client(&net);
    let url = format!("http://{address}/");
    let streamed = client
        .get(&url)
        .options(|options| options.retry(false))
        .send()
        .await;
    let streamed = match streamed {
        Ok(response) => response.bytes().await,
        Err(error) => Err(error),
    };
    let whole = client
        .get(&url)
        .options(|options| options.retry(false))
        .fetch_bytes()
        .await;
    let named = |result: &Result<Bytes, Error>| match result {
        Ok(body) => Ok(body.clone()),
        Err(error) => Err((error.hop(), error.kind())),
    };
    assert_eq!(named(&streamed), named(&whole), "{streamed:?} {whole:?}");
    whole
}

fn assert_received_in_part(result: Result<Bytes, Error>, kinds: &[Kind], case: &str) {
    let error = result.expect_err(case);
    assert_eq!(error.hop(), Some(Hop::Receive), "{case}: {error}");
    assert!(kinds.contains(&error.kind()), "{case}: {error}");
    assert_eq!(error.effect(), Effect::Done, "{case}: {error}");
}

#[tokio::test]
async fn http2_stream_that_ends_without_end_stream_is_incomplete() {
    const TEN: &[u8] = b"0123456789";
    type Case = (&'static str, Respond, bool, &'static [Kind]);
    let cases: [Case; 7] = [
        (
            "no error, with a length",
            |id| {
                let head = head(id, 200, Some(100), 0);
                vec![head, data(id, TEN, 0), reset(id, Reason::NO_ERROR)]
            },
            false,
            &[Kind::Incomplete],
        ),
        (
            "no error, without a length",
            |id| {
                let head = head(id, 200, None, 0);
                vec![head, data(id, TEN, 0), reset(id, Reason::NO_ERROR)]
            },
            false,
            &[Kind::Incomplete],
        ),
        (
            "no error, before any data",
            |id| vec![head(id, 200, None, 0), reset(id, Reason::NO_ERROR)],
            false,
            &[Kind::Incomplete],
        ),
        (
            "no error, all data and no end",
            |id| {
                let head = head(id, 200, Some(100), 0);
                vec![head, data(id, TEN, 0), reset(id, Reason::CANCEL)]
            },
            false,
            &[Kind::Reset],
        ),
        (
            "end with less than was announced",
            |id| {
                vec![
                    head(id, 200, Some(100), 0),
                    data(id, TEN, 0),
                    data(id, b"", END_STREAM),
                ]
            },
            false,
            &[Kind::ProtocolError, Kind::Incomplete],
        ),
        (
            "the connection ends, with a length",
            |id| vec![head(id, 200, Some(100), 0), data(id, TEN, 0)],
            true,
            &[Kind::Incomplete],
        ),
        (
            "the connection ends, without a length",
            |id| vec![head(id, 200, None, 0), data(id, TEN, 0)],
            true,
            &[Kind::Incomplete],
        ),
    ];
    for (case, frames, closes, kinds) in cases {
        assert_received_in_part(over_http2(frames, closes).await, kinds, case);
    }
}

#[tokio::test]
async fn http2_response_is_complete_although_its_stream_is_reset_afterwards() {
    let cases: [Respond; 3] = [
        |id| {
            let head = head(id, 413, Some(4), 0);
            let body = data(id, b"full", END_STREAM);
            vec![head, body, reset(id, Reason::NO_ERROR)]
        },
        |id| {
            let head = head(id, 413, None, 0);
            let body = data(id, b"full", END_STREAM);
            vec![head, body, reset(id, Reason::NO_ERROR)]
        },
        |id| {
            let head = head(id, 413, None, END_STREAM);
            vec![head, reset(id, Reason::NO_ERROR)]
        },
    ];
    let net = Net::new().await;
    for frames in cases {
        let address = serve(move |stream, _| async move {
            let mut peer = Peer::accept(stream, 100).await?;
            loop {
                let stream = peer.request().await?;
                // The upload has not ended, because nothing opens the window of the stream again.
                peer.write(&frames(stream)).await?;
            }
        })
        .await;
        let client = http2_client(&net);
        for _ in 0..2 {
            let post = client.post(format!("http://{address}/"));
            let response = post.body(vec![7; 1 << 20]).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
            let body = response.bytes().await.unwrap();
            assert!(body.is_empty() || body == "full", "{body:?}");
        }
    }
}

#[tokio::test]
async fn http2_response_that_is_complete_by_its_length_survives_the_end_of_its_connection() {
    let net = Net::new().await;
    let cases: [(Respond, bool); 3] = [
        (|_| Vec::new(), true),
        (|id| vec![go_away(id, Reason::NO_ERROR)], true),
        // A part of it is missing.
        (|_| Vec::new(), false),
    ];
    for (last, is_whole) in cases {
        let address = serve(move |stream, _| async move {
            let mut peer = Peer::accept(stream, 100).await?;
            let id = peer.request().await?;
            let head = head(id, 413, Some(if is_whole { 4 } else { 5 }), 0);
            let mut frames = vec![head, data(id, b"full", 0)];
            if is_whole {
                frames.push(data(id, b"", END_STREAM));
            }
            // The upload has not ended, because nothing opens the window of the stream again.
            peer.write(&[frames, last(id)].concat()).await?;
            peer.stream.shutdown().await
        })
        .await;
        let post = http2_client(&net).post(format!("http://{address}/"));
        let post = post.options(|options| options.retry(false));
        let response = post.body(vec![7; 1 << 20]).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        match response.bytes().await {
            Ok(body) => assert_eq!((&body[..], is_whole), (&b"full"[..], true)),
            Err(error) => assert!(!is_whole, "{error:?}"),
        }
    }
}

/// Sends a GET over TLS. The server responds with these bytes and cuts the connection without a close_notify.
async fn over_tls(bytes: &'static [u8]) -> Result<Bytes, Error> {
    let net = Net::new().await;
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let acceptor = TlsAcceptor::from(identity.server_config(&[b"http/1.1"]));
    let address = serve(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let mut tls = acceptor.accept(stream).await?;
            read_head(&mut tls).await?;
            tls.write_all(bytes).await?;
            tls.flush().await?;
            let (mut tcp, _) = tls.into_inner();
            tcp.shutdown().await
        }
    })
    .await;
    let url = format!("https://api.test:{}/", address.port());
    net.client()
        .get(url)
        .options(|options| options.retry(false))
        .fetch_bytes()
        .await
}

#[tokio::test]
async fn truncated_http1_body_is_incomplete() {
    let cases: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ];
    for bytes in cases {
        let case = String::from_utf8_lossy(bytes);
        assert_received_in_part(over_tls(bytes).await, &[Kind::Incomplete], &case);
    }
}

/// Sends a GET. The server responds with these bytes and closes the connection.
async fn plain(bytes: &'static [u8]) -> Result<Bytes, Error> {
    let net = Net::new().await;
    let address = serve(move |mut stream, _| async move {
        read_head(&mut stream).await?;
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        io::Result::Ok(())
    })
    .await;
    let url = format!("http://{address}/");
    net.client()
        .get(url)
        .options(|options| options.retry(false))
        .fetch_bytes()
        .await
}

#[tokio::test]
async fn http1_chunks_are_complete_only_with_the_last_one() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhalf",
    ] {
        let case = String::from_utf8_lossy(bytes);
        assert_received_in_part(plain(bytes).await, &[Kind::Incomplete], &case);
    }
    let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n";
    assert_eq!(plain(whole).await.unwrap(), "half");
    assert_eq!(plain(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap(), "half");
}

#[tokio::test]
async fn http1_framing_without_a_clear_end_is_an_error_at_the_head() {
    for framing in [
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: identity",
        "transfer-encoding: xchunked",
        "content-length: 4\r\ncontent-length: 5",
        "content-length: +4",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n4\r\nhalf\r\n0\r\n\r\n");
        let bytes: &'static [u8] = bytes.into_bytes().leak();
        let error = plain(bytes).await.expect_err(framing);
        assert_eq!(error.kind(), Kind::ProtocolError, "{framing}: {error}");
        assert!(error.effect() >= Effect::Possible, "{framing}: {error}");
    }
}

#[tokio::test]
async fn http2_response_before_the_end_of_the_upload_is_not_a_failure() {
    let net = Net::new().await;
    let server = net.http2().await;
    let early = CannedResponse::new(StatusCode::PAYLOAD_TOO_LARGE).body("full");
    let gate = Gate::new();
    let held = CannedResponse::json("1").hold_body(&gate);
    server.on_request([held.into(), sevenhops::testing::Reply::EarlyAnswer(early)]);
    let (client, url) = (net.client(), url(&server, "https"));
    let bystander = client.get(&url).send().await.unwrap();
    let response = client.post(&url).body(vec![7; 4 << 20]).send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.bytes().await.unwrap(), "full");
    gate.open();
    assert_eq!(bystander.bytes().await.unwrap(), "1");
    let again = client.post(&url).body(Body::empty()).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(server.connections(), 1);
}

/// A request body that never comes.
struct Stalled;

impl http_body::Body for Stalled {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn http1_upload_ends_with_the_response_that_came_before_its_end() {
    let net = Net::new().await;
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let closed = std::sync::Arc::new(std::sync::Mutex::new(Some(closed)));
    let address = serve(move |mut stream, _| {
        let closed = closed.lock().unwrap().take();
        async move {
            read_head(&mut stream).await?;
            let early = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(early).await?;
            let mut rest = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
            let _ = closed.map(|closed| closed.send(()));
            Ok(())
        }
    })
    .await;
    let client = net.client();
    let post = client
        .post(format!("http://{address}/"))
        .body(Body::wrap(Stalled));
    let response = post
        .options(|options| options.retry(false))
        .send()
        .await
        .unwrap();
    assert_eq!(response.bytes().await.unwrap(), "ok");
    is_closed.await.unwrap();
}
