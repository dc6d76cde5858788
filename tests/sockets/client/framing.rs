//! Tests framing headers that the caller sets: a request whose headers contradict its body is not sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version};
use http_body::Frame;
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops::{Body, Effect, Error, Hop, Kind};

use crate::net::{Net, url};

/// Returns a body of these pieces without a known length.
fn stream<const N: usize>(pieces: [&'static str; N]) -> Body {
    struct Pieces(VecDeque<&'static str>);
    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = self.0.pop_front();
            Poll::Ready(piece.map(|text| Ok(Frame::data(text.into()))))
        }
    }
    Body::wrap(Pieces(pieces.into()))
}

/// Returns a network with a server for each HTTP version, and their URLs.
async fn both() -> (Net, [(FaultServer, String); 2]) {
    let net = Net::new().await;
    let plain = FaultServer::builder().start().await.unwrap();
    let http2 = net.http2().await;
    let urls = [url(&plain, "http"), url(&http2, "https")];
    let [first, second] = urls;
    (net, [(plain, first), (http2, second)])
}

/// Returns a request that the client did not build.
fn request(method: &Method, url: &str, lines: &[(&str, &str)], body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(url);
    let lines = lines.iter();
    let request = lines.fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.body(body).unwrap()
}

fn assert_unsent(error: &Error, reason: &str) {
    assert_eq!(
        (error.hop(), error.kind(), error.effect()),
        (Some(Hop::Encode), Kind::InvalidRequest, Effect::None)
    );
    assert!(error.to_string().contains(reason), "{error}");
}

#[tokio::test]
async fn length_that_is_not_the_bodys_is_refused_before_anything_is_sent() {
    let (net, servers) = both().await;
    let client = net.client();
    for (server, url) in &servers {
        for (method, length, body, reason) in [
            (
                Method::POST,
                "3",
                "sixsix",
                "content-length says 3, the body has 6 bytes",
            ),
            (
                Method::PUT,
                "9",
                "sixsix",
                "content-length says 9, the body has 6 bytes",
            ),
            (
                Method::POST,
                "5",
                "",
                "content-length says 5, the body has 0 bytes",
            ),
            (
                Method::GET,
                "5",
                "",
                "content-length says 5, the body has 0 bytes",
            ),
            (
                Method::POST,
                "six",
                "sixsix",
                "content-length is not a number",
            ),
            (
                Method::POST,
                "+6",
                "sixsix",
                "content-length is not a number",
            ),
            (
                Method::POST,
                "6, 6",
                "sixsix",
                "content-length is not a number",
            ),
        ] {
            let built = client.request(method.clone(), url).body(body);
            let error = built.header("content-length", length).send().await;
            assert_unsent(&error.unwrap_err(), reason);
            let made = request(&method, url, &[("content-length", length)], body.into());
            let error = client.execute(made).await.unwrap_err();
            assert_unsent(&error, reason);
            assert_eq!(error.attempts(), 1, "{error}");
        }
        let wrapped = Body::wrap(http_body_util::Full::new(Bytes::from("sixsix")));
        let built = client.post(url).body(wrapped).header("content-length", "3");
        let error = built.send().await.unwrap_err();
        assert_unsent(&error, "content-length says 3, the body has 6 bytes");
        let built = client.post(url).body("sixsix");
        let built = built.header("content-length", "6");
        let error = built.header("content-length", "6").send().await;
        assert_unsent(&error.unwrap_err(), "content-length is set more than once");
        assert_eq!(server.connections(), 0);
    }
}

#[tokio::test]
async fn transfer_encoding_that_cannot_be_sent_is_refused_by_name() {
    let (net, servers) = both().await;
    let client = net.client();
    for (server, url) in &servers {
        for (lines, body) in [
            (&[("transfer-encoding", "gzip, chunked")][..], stream(["a"])),
            (&[("transfer-encoding", "identity")], stream(["a"])),
            (&[("transfer-encoding", "chunked")], "sixsix".into()),
            (&[("transfer-encoding", "chunked")], Body::empty()),
            (
                &[("transfer-encoding", "chunked"), ("content-length", "1")],
                stream(["a"]),
            ),
            (
                &[("transfer-encoding", "chunked"), ("content-length", "6")],
                "sixsix".into(),
            ),
        ] {
            let made = request(&Method::POST, url, lines, body);
            let error = client.execute(made).await.unwrap_err();
            assert_unsent(&error, "transfer-encoding must be removed");
        }
        assert_eq!(server.connections(), 0);
    }
    let url = &servers[1].1;
    let post = client
        .post(url)
        .version(Version::HTTP_2)
        .body(stream(["a"]));
    let error = post.header("transfer-encoding", "chunked").send().await;
    assert_unsent(&error.unwrap_err(), "HTTP/2 does not have it");
}

#[tokio::test]
async fn correct_framing_is_sent() {
    let (net, servers) = both().await;
    let client = net.client();
    for (server, url) in &servers {
        let known = client.post(url).body("sixsix");
        known.header("content-length", "6").send().await.unwrap();
        let stream_of_six = client.post(url).body(stream(["six", "", "six"]));
        let stream_of_six = stream_of_six.header("content-length", "6");
        stream_of_six.send().await.unwrap();
        let chunked = client.post(url).body(stream(["six", "six"]));
        let chunked = chunked.header("transfer-encoding", "chunked");
        chunked.send().await.unwrap();
        for seen in server.requests() {
            assert_eq!(&seen.body[..], b"sixsix");
            assert!(seen.body_complete);
            let lengths = seen.headers.get_all("content-length").iter().count();
            assert_eq!(
                lengths,
                usize::from(seen.headers.contains_key("content-length"))
            );
        }
        let empty = [
            client.get(url),
            client.post(url),
            client.post(url).body(stream([])),
        ];
        for request in empty {
            request.header("content-length", "0").send().await.unwrap();
        }
        assert!(
            server.requests()[3..]
                .iter()
                .all(|seen| seen.body.is_empty())
        );
        assert_eq!(server.requests_seen(), 6);
    }
}

#[tokio::test]
async fn stream_with_a_wrong_length_is_not_a_success() {
    let (net, servers) = both().await;
    let client = net.client();
    for (server, url) in &servers {
        for (length, body, reason) in [
            ("5", stream(["hel"]), "has 3 bytes, 5 were announced"),
            ("5", stream([]), "has 0 bytes, 5 were announced"),
            ("5", stream(["hello!"]), "more than the 5 bytes"),
            ("5", stream(["hel", "lo", "!"]), "more than the 5 bytes"),
            ("0", stream(["!"]), "more than the 0 bytes"),
        ] {
            let post = client.post(url).header("content-length", length);
            let error = post.body(body).send().await.unwrap_err();
            // Over HTTP/1 the head is sent with the first piece, and there was none.
            let effect = match url.starts_with("https") {
                true => Effect::Possible,
                false => Effect::None,
            };
            assert_eq!(
                (error.hop(), error.kind(), error.effect()),
                (Some(Hop::Send), Kind::RequestBody, effect),
                "{error:?}"
            );
            assert!(error.to_string().contains(reason), "{error}");
        }
        let seen = server.requests();
        assert!(seen.iter().all(|seen| !seen.body_complete), "{seen:?}");
    }
}

#[tokio::test]
async fn manual_length_is_correct_for_every_attempt() {
    let (net, servers) = both().await;
    let client = net.client();
    for (server, url) in &servers {
        let busy = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).body("busy");
        let moved = CannedResponse::new(StatusCode::PERMANENT_REDIRECT).header("location", "/v2");
        let seen_elsewhere = CannedResponse::new(StatusCode::SEE_OTHER).header("location", "/v3");
        server.on_request([busy, moved, seen_elsewhere].map(Reply::from));
        let put = client.put(url).body("sixsix").header("content-length", "6");
        put.send().await.unwrap();
        let seen = server.requests();
        let bodies: Vec<_> = seen.iter().map(|seen| &seen.body[..]).collect();
        assert_eq!(bodies, [&b"sixsix"[..], b"sixsix", b"sixsix", b""]);
    }
}

/// RFC 9110 §8.6: a server may refuse a POST without a length with 411.
#[tokio::test]
async fn request_without_content_says_so_if_its_method_has_content() {
    let (net, servers) = both().await;
    for (server, url) in servers {
        for (method, length) in [
            (Method::POST, Some("0")),
            (Method::PUT, Some("0")),
            (Method::PATCH, Some("0")),
            (Method::GET, None),
            (Method::HEAD, None),
            (Method::DELETE, None),
            (Method::OPTIONS, None),
        ] {
            net.client()
                .request(method.clone(), &url)
                .send()
                .await
                .unwrap();
            let seen = server.requests().pop().unwrap();
            let sent = seen.headers.get("content-length");
            assert_eq!(
                (seen.method, sent.map(|value| value.as_bytes())),
                (method, length.map(str::as_bytes)),
                "{url}"
            );
            assert!(!seen.headers.contains_key("transfer-encoding"));
        }
    }
}
