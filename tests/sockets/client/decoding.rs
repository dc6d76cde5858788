//! A response's body is decoded to its last byte, or the call fails.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{Method, StatusCode};
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops::{Effect, Hop, Kind};

use crate::net::{Net, url};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn br(mut text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let options = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut text, &mut encoded, &options).unwrap();
    encoded
}

/// Returns a 200 response with this body and these lines of `Content-Encoding`.
fn encoded(lines: &[&str], body: impl Into<Vec<u8>>) -> CannedResponse {
    let answer = CannedResponse::new(StatusCode::OK).body(body.into());
    let line = |answer: CannedResponse, line: &&str| answer.header("content-encoding", line);
    lines.iter().fold(answer, line)
}

const TEXT: &[u8] = br#"{"id":"ch_1"}"#;

#[tokio::test]
async fn body_is_decoded_completely_in_every_framing() {
    let net = Net::new().await;
    let plain = FaultServer::builder().start().await.unwrap();
    let http2 = net.http2().await;
    let two = || [gzip(&TEXT[..5]), gzip(&TEXT[5..])].concat();
    let rows = [
        (&["gzip"][..], gzip(TEXT)),
        (&["gzip"], two()),
        (&["x-gzip"], gzip(TEXT)),
        (&["GZIP"], two()),
        (&["deflate"], deflate(TEXT)),
        (&["Br"], br(TEXT)),
        (&["gzip, br"], br(&two())),
        (&["br", "gzip"], gzip(&br(TEXT))),
        (&["identity"], TEXT.to_vec()),
    ];
    for (server, scheme) in [(plain, "http"), (http2, "https")] {
        let (client, url) = (net.client(), url(&server, scheme));
        for (lines, body) in &rows {
            for answer in [encoded(lines, &**body), encoded(lines, &**body).chunked()] {
                server.default_reply(answer);
                assert_eq!(client.get(&url).fetch_bytes().await.unwrap(), TEXT);
                let response = client.get(&url).send().await.unwrap();
                if lines != &["identity"] {
                    assert!(!response.headers().contains_key("content-encoding"));
                    assert!(!response.headers().contains_key("content-length"));
                    assert_eq!(response.content_length(), None);
                }
                assert_eq!(response.bytes().await.unwrap(), TEXT, "{lines:?}");
            }
        }
        assert_eq!(
            server.requests()[0].headers["accept-encoding"],
            "gzip,deflate,br"
        );
    }
}

#[tokio::test]
async fn member_in_each_chunk_is_decoded() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let mut raw =
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for member in [gzip(b"one, "), gzip(b"two, "), gzip(b"three")] {
        write!(raw, "{:x}\r\n", member.len()).unwrap();
        raw.extend(member);
        raw.extend(b"\r\n");
    }
    raw.extend(b"0\r\nx-checksum: 1\r\n\r\n");
    server.default_reply(Reply::Garbage(raw.into()));
    let get = || net.client().get(url(&server, "http"));
    assert_eq!(get().fetch_bytes().await.unwrap(), "one, two, three");
    let response = get().send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "one, two, three");
}

#[tokio::test]
async fn body_that_does_not_end_with_its_coding_is_incomplete() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let whole = gzip(TEXT);
    let no_trailer = whole[..whole.len() - 8].to_vec();
    let half_a_member = [&whole[..], &whole[..12]].concat();
    let short = "the gzip data breaks off";
    let long = "bytes are left over after the gzip data";
    for (body, why) in [
        (whole[..1].to_vec(), short),
        (no_trailer, short),
        (half_a_member, short),
        ([&whole[..], b"garbage"].concat(), long),
        ([&whole[..], &[0; 512]].concat(), long),
    ] {
        for answer in [
            encoded(&["gzip"], &*body),
            encoded(&["gzip"], &*body).chunked(),
        ] {
            server.default_reply(answer);
            let fetched = client.post(&url).fetch_bytes().await.unwrap_err();
            let sent = client.post(&url).send().await.unwrap();
            for error in [fetched, sent.bytes().await.unwrap_err()] {
                let told = (error.hop(), error.kind(), error.effect());
                let expected = (Some(Hop::Receive), Kind::Incomplete, Effect::Done);
                assert_eq!(told, expected, "{error}");
                assert!(error.to_string().contains(why), "{error}");
                let outcome = error.timeline().unwrap().to_string();
                assert!(outcome.contains("incomplete"), "{outcome}");
            }
        }
    }
}

#[tokio::test]
async fn unknown_coding_fails_unless_the_caller_reads_raw_bytes() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    for (lines, named) in [
        (&["zstd"][..], "its body is encoded: zstd"),
        (&["foo"], "its body is encoded: an unknown coding"),
        (&["gzip, foo"], "its body is encoded: an unknown coding"),
        (&["foo", "gzip"], "its body is encoded: an unknown coding"),
    ] {
        server.default_reply(encoded(lines, TEXT).header("content-type", "application/json"));
        let value = || async { client.get(&url).send().await.unwrap() };
        for error in [
            client.get(&url).fetch_bytes().await.unwrap_err(),
            client.get(&url).fetch_json::<()>().await.unwrap_err(),
            value().await.json::<serde_json::Value>().await.unwrap_err(),
            value().await.text().await.unwrap_err(),
        ] {
            let told = (error.hop(), error.kind(), error.effect());
            assert_eq!(told, (Some(Hop::Decode), Kind::Malformed, Effect::Done));
            assert!(error.to_string().contains(named), "{error}");
        }
        let raw = value().await;
        let kept: Vec<_> = raw.headers().get_all("content-encoding").iter().collect();
        assert_eq!(kept, lines);
        assert_eq!(raw.content_length(), Some(TEXT.len() as u64));
        assert_eq!(raw.bytes().await.unwrap(), TEXT);
    }
}

#[tokio::test]
async fn response_without_a_body_needs_no_decoder_and_keeps_its_headers() {
    let net = Net::new().await;
    let plain = FaultServer::builder().start().await.unwrap();
    let http2 = net.http2().await;
    for (server, scheme) in [(plain, "http"), (http2, "https")] {
        let (client, url) = (net.client(), url(&server, scheme));
        for coding in ["gzip", "zstd"] {
            for (method, status) in [
                (Method::HEAD, StatusCode::OK),
                (Method::GET, StatusCode::NO_CONTENT),
                (Method::GET, StatusCode::NOT_MODIFIED),
                (Method::GET, StatusCode::OK),
            ] {
                let answer = encoded(&[coding], "").status(status);
                let answer = match method == Method::HEAD {
                    true => answer.header("content-length", "1000"),
                    false => answer,
                };
                server.default_reply(answer);
                let request = || {
                    let request = client.request(method.clone(), &url);
                    request.header("if-none-match", "\"1\"")
                };
                let response = request().send().await.unwrap();
                assert_eq!(response.headers()["content-encoding"], coding);
                assert_eq!(response.text().await.unwrap(), "", "{method} {status}");
                assert_eq!(request().fetch_bytes().await.unwrap(), "");
            }
        }
        server.default_reply(encoded(&["gzip"], "").chunked());
        assert_eq!(client.get(&url).fetch_bytes().await.unwrap(), "");
    }
}

#[tokio::test]
async fn range_request_accepts_no_coding_and_partial_data_is_not_decoded() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let part = &gzip(TEXT)[4..];
    server.default_reply(encoded(&["gzip"], part).status(StatusCode::PARTIAL_CONTENT));
    let get = || client.get(&url).header("range", "bytes=4-");
    let error = get().fetch_bytes().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Decode), Kind::Malformed)
    );
    let why = "its body is a part of gzip data";
    assert!(error.to_string().contains(why), "{error}");
    let raw = get().send().await.unwrap();
    assert_eq!(raw.headers()["content-encoding"], "gzip");
    assert_eq!(raw.bytes().await.unwrap(), part);
    let own = get().header("accept-encoding", "br");
    own.send().await.unwrap();
    let asked = |at: usize| {
        server.requests()[at]
            .headers
            .get("accept-encoding")
            .cloned()
    };
    assert_eq!((asked(0), asked(1)), (None, None));
    assert_eq!(asked(2).unwrap(), "br");
}

#[tokio::test]
async fn body_limit_counts_what_was_decoded() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let bomb = gzip(&vec![b' '; 1 << 20]);
    assert!(bomb.len() < 2_000);
    for (coding, body) in [("gzip", bomb.clone()), ("br, gzip", gzip(&br(&bomb)))] {
        let nested = coding != "gzip";
        server.default_reply(encoded(&[coding], body));
        let limit = if nested { 500 } else { 100_000 };
        let get = || client.get(&url).body_limit(limit);
        let fetched = get().fetch_bytes().await.unwrap_err();
        let sent = get().send().await.unwrap().bytes().await.unwrap_err();
        for error in [fetched, sent] {
            assert_eq!(error.kind(), Kind::TooLarge, "{error}");
        }
    }
}

#[tokio::test]
async fn text_is_read_in_the_charset_of_the_response() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let text = async |kind: &str, body: &'static [u8]| {
        let answer = CannedResponse::new(StatusCode::OK).header("content-type", kind);
        server.default_reply(answer.body(body));
        let response = net.client().get(url(&server, "http")).send().await;
        response.unwrap().text().await.unwrap()
    };
    assert_eq!(
        text("text/plain; charset=ISO-8859-1", b"caf\xe9").await,
        "café"
    );
    assert_eq!(text("text/plain", b"caf\xc3\xa9").await, "café");
    assert_eq!(
        text("text/plain; charset=foo", b"caf\xe9").await,
        "caf\u{fffd}"
    );
}
