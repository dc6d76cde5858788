//! Downloads that continue after they broke off.

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use sevenhops::client::Download;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Gate, Reply};
use sevenhops::{Error, Hop, Kind};

use crate::net::{Net, url};

/// A response with these header lines that announces 10 bytes, sends `sent`, and closes.
fn cut(lines: &str, sent: &str) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n{lines}\r\n\r\n{sent}");
    Reply::Garbage(head.into())
}

fn part(range: &str, bytes: &'static str) -> CannedResponse {
    let part = CannedResponse::new(StatusCode::PARTIAL_CONTENT);
    part.header("content-range", range)
        .header("etag", "\"v1\"")
        .body(bytes)
}

async fn begin(net: &Net, server: &FaultServer) -> Download {
    let get = net.client().get(url(server, "http"));
    get.download().await.unwrap()
}

/// Reads a download to its end. Returns its bytes, and its error if there was one.
async fn read(mut download: Download) -> (Bytes, Option<Error>) {
    let mut bytes = Vec::new();
    let error = loop {
        match download.chunk().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert_eq!(download.received_bytes(), bytes.len() as u64);
    assert_eq!(download.chunk().await.unwrap(), None);
    (bytes.into(), error)
}

#[tokio::test]
async fn body_that_broke_off_twice_is_continued_from_the_same_version() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let again = "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\ncontent-range: bytes 5-9/10\r\n\r\nwor";
    server.on_request([
        cut("etag: \"v1\"", "hello"),
        Reply::Garbage(again.into()),
        CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into(),
        part("bytes 8-9/10", "ld").into(),
    ]);
    let (bytes, error) = read(begin(&net, &server).await).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(bytes, "helloworld");
    let seen = server.requests();
    let header = |name| {
        let values = seen.iter().map(|seen| seen.headers.get(&name));
        values
            .map(|value| value.map_or("", |value| value.to_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(header(RANGE), ["", "bytes=5-", "bytes=8-", "bytes=8-"]);
    assert_eq!(header(IF_RANGE), ["", "\"v1\"", "\"v1\"", "\"v1\""]);
    assert_eq!(header(ACCEPT_ENCODING), ["identity"; 4]);
}

#[tokio::test]
async fn two_versions_are_never_mixed() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let whole = CannedResponse::new(StatusCode::OK).body("HELLOWORLD");
    let other = CannedResponse::new(StatusCode::PARTIAL_CONTENT).body("WORLD");
    let other = other
        .header("content-range", "bytes 5-9/10")
        .header("etag", "\"v2\"");
    for answer in [
        whole,
        other,
        part("bytes 4-8/10", "oworl"),
        part("bytes 5-9/11", "world"),
        part("bytes 5-9/10", "worlds"),
        part("bytes 5-9/10", "world").chunked(),
        part("bytes 5-9/10", "world").header("content-encoding", "gzip"),
        CannedResponse::new(StatusCode::PARTIAL_CONTENT).body("world"),
    ] {
        let shown = format!("{answer:?}");
        server.on_request([cut("etag: \"v1\"", "hello"), answer.into()]);
        let (bytes, error) = read(begin(&net, &server).await).await;
        assert_eq!(bytes, "hello", "{shown}");
        let error = error.unwrap();
        assert_eq!(
            (error.hop(), error.kind()),
            (Some(Hop::Receive), Kind::Incomplete),
            "{shown}"
        );
        assert!(
            error.to_string().contains("does not continue the file"),
            "{error}"
        );
    }
    let later =
        part("bytes 5-9/10", "WORLD").header("last-modified", "Mon, 30 Nov 2026 10:05:00 GMT");
    let dated =
        "last-modified: Mon, 30 Nov 2026 10:00:00 GMT\r\ndate: Mon, 30 Nov 2026 12:00:00 GMT";
    server.on_request([cut(dated, "hello"), later.into()]);
    let (bytes, error) = read(begin(&net, &server).await).await;
    assert_eq!(
        (&*bytes, error.unwrap().kind()),
        (&b"hello"[..], Kind::Incomplete)
    );
    let gone = CannedResponse::new(StatusCode::NOT_FOUND);
    server.on_request([cut("etag: \"v1\"", "hello"), gone.into()]);
    let (_, error) = read(begin(&net, &server).await).await;
    assert_eq!(error.unwrap().status(), Some(StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn body_without_a_strong_validator_fails_where_it_broke_off() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    for lines in [
        "x: y",
        "etag: W/\"v1\"",
        "etag: \"v1\"\r\naccept-ranges: none",
    ] {
        let before = server.requests_seen();
        server.on_request([cut(lines, "hello")]);
        let (bytes, error) = read(begin(&net, &server).await).await;
        assert_eq!(
            (&bytes[..], error.unwrap().hop()),
            (&b"hello"[..], Some(Hop::Receive))
        );
        assert_eq!(server.requests_seen() - before, 1, "{lines}");
    }
}

#[tokio::test]
async fn continuation_without_a_byte_ends_the_download() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let nothing =
        "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\ncontent-range: bytes 5-9/10\r\n\r\n";
    server.on_request([cut("etag: \"v1\"", "hello"), Reply::Garbage(nothing.into())]);
    let (bytes, error) = read(begin(&net, &server).await).await;
    assert_eq!(
        (&bytes[..], error.unwrap().hop()),
        (&b"hello"[..], Some(Hop::Receive))
    );
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn wait_that_was_dropped_while_the_download_continued_loses_nothing() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let rest = part("bytes 5-9/10", "world");
    let held = rest.clone().hold(&Gate::new());
    server.on_request([cut("etag: \"v1\"", "hello"), held.into(), rest.into()]);
    let mut download = begin(&net, &server).await;
    assert_eq!(download.chunk().await.unwrap().unwrap(), "hello");
    tokio::select! {
        piece = download.chunk() => panic!("{piece:?}"),
        _ = server.wait_until(|seen| seen.requests == 2) => {}
    }
    assert_eq!(download.chunk().await.unwrap().unwrap(), "world");
    assert_eq!(download.resumptions(), 1);
    assert_eq!(download.response().status(), StatusCode::PARTIAL_CONTENT);
}

#[tokio::test]
async fn request_that_cannot_be_continued_is_refused_at_encode() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    for request in [
        client.post(&url),
        client.get(&url).body("hello"),
        client.get(&url).header("range", "bytes=0-4"),
    ] {
        let error = request.download().await.unwrap_err();
        assert_eq!(
            (error.hop(), error.kind()),
            (Some(Hop::Encode), Kind::InvalidRequest)
        );
    }
    assert_eq!(server.requests_seen(), 0);
}

#[tokio::test]
async fn rest_comes_from_the_url_that_the_redirects_led_to_and_takes_no_credentials_there() {
    let net = Net::new().await;
    let start = || FaultServer::builder().start();
    let (server, files) = (start().await.unwrap(), start().await.unwrap());
    net.dns
        .set("files.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
    let to = |path| {
        let port = files.addr().port();
        let location = format!("http://files.test:{port}/{path}");
        CannedResponse::new(StatusCode::FOUND).header("location", &location)
    };
    // Another file has the same tag.
    server.on_request([to("one").into(), to("other").into()]);
    files.on_request([
        cut("etag: \"v1\"", "hello"),
        part("bytes 5-9/10", "world").into(),
    ]);
    let secret = http::HeaderName::from_static("x-api-key");
    let client = net
        .builder()
        .default_header(secret, "s3cret".parse().unwrap())
        .build()
        .unwrap();
    let get = client.get(url(&server, "http")).bearer_auth("s3cret");
    let (bytes, error) = read(get.download().await.unwrap()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(bytes, "helloworld");
    assert_eq!(server.requests_seen(), 1);
    for seen in files.requests() {
        assert_eq!(seen.target, "/one");
        let secrets = ["authorization", "x-api-key"];
        assert!(!secrets.iter().any(|name| seen.headers.contains_key(*name)));
    }
}

#[tokio::test]
async fn rest_at_the_same_origin_keeps_the_credentials_and_follows_no_redirect() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let to = |path| CannedResponse::new(StatusCode::FOUND).header("location", path);
    server.on_request([
        to("/one").into(),
        cut("etag: \"v1\"", "hello"),
        to("/other").into(),
        part("bytes 5-9/10", "WORLD").into(),
    ]);
    let get = net.client().get(url(&server, "http")).bearer_auth("s3cret");
    let (bytes, error) = read(get.download().await.unwrap()).await;
    let error = error.unwrap();
    assert_eq!((&*bytes, error.kind()), (&b"hello"[..], Kind::Incomplete));
    let seen = server.requests();
    assert_eq!((seen.len(), &*seen[2].target), (3, "/one"));
    assert!(seen[2].headers.contains_key("authorization"));
}

#[tokio::test]
async fn response_that_is_not_the_file_is_an_error() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    for (status, kind) in [
        (300, Kind::RedirectRefused),
        (302, Kind::RedirectRefused),
        (304, Kind::ProtocolError),
        (206, Kind::ProtocolError),
        (404, Kind::ClientError),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        server.on_request([CannedResponse::new(status).into()]);
        let get = net.client().get(url(&server, "http"));
        let error = get.download().await.unwrap_err();
        assert_eq!((error.status(), error.kind()), (Some(status), kind));
    }
    let asked = StatusCode::NOT_MODIFIED;
    server.on_request([CannedResponse::new(asked).into()]);
    let get = net.client().get(url(&server, "http"));
    let get = get.header("if-none-match", "\"v1\"").download().await;
    assert_eq!(get.unwrap().response().status(), asked);
}
