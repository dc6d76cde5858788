//! Heads in both directions: what is passed on, what is rewritten, and what goes nowhere.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Method, Request, StatusCode, Uri, Version};
use sevenhops::testing::{CannedResponse, FaultServer};
use sevenhops::{Client, Config, RedirectConfig, sdk};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{bytes, client, get, none, send, whole};
use crate::net::{Net, url};

#[tokio::test]
async fn request_reaches_the_upstream_with_its_host_its_tls_and_its_version() {
    let net = Net::new().await;
    for http2 in [false, true] {
        let server = match http2 {
            true => net.http2().await,
            false => {
                let identity = net.authority.issue(&["api.test"]).unwrap();
                FaultServer::builder().tls(identity).start().await.unwrap()
            }
        };
        let gateway = sdk::gateway(&net.client(), url(&server, "https")).unwrap();
        let request = Request::post(format!("{}/a%2Fb//c?d=%20&e", gateway.url()))
            .header("authorization", "Bearer secret")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .header("connection", "x-mine")
            .header("x-mine", "one hop")
            .header("te", "trailers")
            .header("proxy-authorization", "Basic dTpw");
        let response = send(request.body(bytes("amount=100")).unwrap()).await;
        let response = response.unwrap();
        assert_eq!(
            (response.status(), response.version()),
            (StatusCode::OK, Version::HTTP_11)
        );
        assert_eq!(whole(response).await, r#"{"ok":true}"#);

        let seen = &server.requests()[0];
        assert_eq!(seen.version == Version::HTTP_2, http2);
        assert_eq!(seen.method, Method::POST);
        assert!(
            seen.target.ends_with("/v1/charges/a%2Fb//c?d=%20&e"),
            "{}",
            seen.target
        );
        let host = format!("api.test:{}", server.addr().port());
        assert_eq!(seen.headers["host"], host);
        assert_eq!(seen.headers["authorization"], "Bearer secret");
        assert_eq!(seen.headers.get_all("x-twice").iter().count(), 2);
        for name in [
            "connection",
            "x-mine",
            "te",
            "proxy-authorization",
            "accept-encoding",
        ] {
            assert!(!seen.headers.contains_key(name), "{name}");
        }
        // The policies of the client apply: a POST has a key.
        assert!(seen.headers.contains_key("idempotency-key"));
        assert_eq!(seen.body, "amount=100");
    }
}

#[tokio::test]
async fn request_without_the_prefix_gets_404_and_goes_nowhere() {
    let server = FaultServer::start().await.unwrap();
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let origin = gateway.url().rsplit_once('/').unwrap().0.to_owned();
    let mut wrong = gateway.url().to_owned();
    let last = if wrong.ends_with('0') { "1" } else { "0" };
    wrong.replace_range(wrong.len() - 1.., last);
    for url in [
        format!("{origin}/"),
        format!("{origin}/v1"),
        format!("{wrong}/v1"),
    ] {
        let response = get(&url).await;
        assert_eq!(response.status(), 404, "{url}");
        let problem = whole(response).await;
        let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
        assert_eq!(problem["title"], "Not Found");
        assert!(
            !problem
                .to_string()
                .contains(&gateway.url()[gateway.url().len() - 32..])
        );
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(get(format!("{}/v1", gateway.url())).await.status(), 200);
    assert_eq!(server.requests_seen(), 1);
}

#[tokio::test]
async fn response_loses_the_headers_of_its_hop_and_keeps_the_rest() {
    let server = FaultServer::start().await.unwrap();
    let answer = CannedResponse::new(StatusCode::IM_A_TEAPOT)
        .header("connection", "x-mine")
        .header("x-mine", "one hop")
        .header("keep-alive", "timeout=5")
        .header("proxy-authenticate", "Basic")
        .header("sevenhops-effect", "none")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .body("short and stout");
    server.default_reply(answer);
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let response = get(format!("{}/", gateway.url())).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    let headers = response.headers();
    for name in [
        "connection",
        "x-mine",
        "keep-alive",
        "proxy-authenticate",
        "sevenhops-effect",
    ] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(headers["content-length"], "15");
    assert_eq!(whole(response).await, "short and stout");
}

#[tokio::test]
async fn location_of_the_upstream_leads_through_the_gateway() {
    let server = FaultServer::start().await.unwrap();
    let config = Config::new(std::time::Duration::from_secs(10));
    let client = Client::builder_from_config(config.redirect(RedirectConfig::new().enabled(false)));
    let gateway = sdk::gateway(&client.build().unwrap(), server.url("/v1")).unwrap();
    let own = gateway.url().to_owned();
    for (status, location, expected) in [
        (
            201,
            server.url("/v1/charges/7?a#b"),
            format!("{own}/charges/7?a#b"),
        ),
        (201, "/v1/charges/7".to_owned(), format!("{own}/charges/7")),
        (307, "7".to_owned(), format!("{own}/7")),
        (307, server.url("/v2"), server.url("/v2")),
        (
            307,
            "https://other.test/".to_owned(),
            "https://other.test/".to_owned(),
        ),
    ] {
        let answer = CannedResponse::new(StatusCode::from_u16(status).unwrap());
        let answer = answer.header("location", &location);
        server.default_reply(answer.header("content-location", &location));
        let response = get(format!("{own}/charges")).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["location"], expected);
        assert_eq!(response.headers()["content-location"], expected);
    }
}

#[tokio::test]
async fn cookie_of_the_upstream_is_one_of_the_gateway() {
    let server = FaultServer::start().await.unwrap();
    let set = "a=1; Domain=127.0.0.1; Path=/v1/users; Secure; HttpOnly";
    let answer = CannedResponse::new(StatusCode::OK).header("set-cookie", set);
    server.default_reply(answer.header("set-cookie", "b=2; Path=/"));
    let gateway = sdk::gateway(&client(), server.url("/v1")).unwrap();
    let response = get(format!("{}/users/7", gateway.url())).await;
    let prefix = gateway.url().parse::<Uri>().unwrap().path().to_owned();
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    let expected = [
        format!("a=1; Path={prefix}/users; HttpOnly"),
        format!("b=2; Path={prefix}"),
    ];
    assert_eq!(cookies, expected.each_ref());
}

#[tokio::test]
async fn upstream_does_not_see_the_prefix_in_the_referer() {
    let server = FaultServer::start().await.unwrap();
    let gateway = sdk::gateway(&client(), server.url("/v1")).unwrap();
    let (origin, token) = gateway.url().rsplit_once('/').unwrap();
    for (referer, expected) in [
        (
            format!("{}/a?b", gateway.url()),
            Some(server.url("/v1/a?b")),
        ),
        (format!("{origin}//{token}/a"), None),
        (
            "https://app.test/".to_owned(),
            Some("https://app.test/".to_owned()),
        ),
    ] {
        let request = Request::get(gateway.url()).header("referer", &referer);
        send(request.body(none()).unwrap()).await.unwrap();
        let seen = server.requests().pop().unwrap();
        let seen = seen
            .headers
            .get("referer")
            .map(|seen| seen.to_str().unwrap());
        assert_eq!(seen, expected.as_deref(), "{referer}");
    }
}

#[tokio::test]
async fn redirects_are_followed_by_the_client() {
    let server = FaultServer::start().await.unwrap();
    let moved = CannedResponse::new(StatusCode::FOUND).header("location", "/v2");
    server.on_request([moved.into()]);
    let gateway = sdk::gateway(&client(), server.url("/v1")).unwrap();
    assert_eq!(get(gateway.url()).await.status(), 200);
    let paths: Vec<_> = server
        .requests()
        .iter()
        .map(|seen| seen.target.clone())
        .collect();
    assert_eq!(paths, ["/v1", "/v2"]);
}

#[tokio::test]
async fn encoded_body_stays_encoded() {
    let server = FaultServer::start().await.unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"stored with a coding").unwrap();
    let encoded = encoder.finish().unwrap();
    let answer = CannedResponse::new(StatusCode::OK).header("content-encoding", "gzip");
    server.default_reply(answer.header("etag", "\"a\"").body(encoded.clone()));
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let request = Request::get(gateway.url()).header("accept-encoding", "gzip;q=0.5");
    let response = send(request.body(none()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(
        response.headers()["content-length"],
        encoded.len().to_string()
    );
    assert_eq!(whole(response).await, encoded);
    assert_eq!(
        server.requests()[0].headers["accept-encoding"],
        "gzip;q=0.5"
    );
}

#[tokio::test]
async fn messages_without_a_body_keep_their_framing() {
    let server = FaultServer::start().await.unwrap();
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let head = Request::head(gateway.url()).body(none()).unwrap();
    let response = send(head).await.unwrap();
    assert_eq!(response.headers()["content-length"], "11");
    assert_eq!(whole(response).await, "");

    let post = Request::post(gateway.url()).header("content-length", "0");
    send(post.body(none()).unwrap()).await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::NO_CONTENT));
    let response = get(gateway.url()).await;
    assert_eq!(response.status(), 204);
    assert!(!response.headers().contains_key("transfer-encoding"));
    let seen = server.requests();
    assert_eq!(seen[1].headers["content-length"], "0");
    assert!(!seen[2].headers.contains_key("content-length"));
}

#[tokio::test]
async fn tunnel_is_refused_and_nothing_is_sent() {
    let server = FaultServer::start().await.unwrap();
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let url: Uri = gateway.url().parse().unwrap();
    let authority = url.authority().unwrap().as_str();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let head = b"CONNECT api.test:443 HTTP/1.1\r\nhost: api.test:443\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    assert_eq!(line, "HTTP/1.1 501 Not Implemented\r\n");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn cookie_of_another_host_is_not_returned() {
    let (server, other) = (
        FaultServer::start().await.unwrap(),
        FaultServer::start().await.unwrap(),
    );
    let moved = CannedResponse::new(StatusCode::FOUND).header("location", &other.url("/"));
    server.on_request([moved.into()]);
    other.default_reply(CannedResponse::new(StatusCode::OK).header("set-cookie", "sid=SECRET"));
    let gateway = sdk::gateway(&client(), server.url("/v1")).unwrap();
    let response = get(gateway.url()).await;
    assert_eq!(other.requests_seen(), 1);
    assert!(!response.headers().contains_key("set-cookie"));
}
