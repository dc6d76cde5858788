//! A whole-body call succeeds on 2xx, and every other status is an error that shows it.

use http::{Method, StatusCode};
use sevenhops::{
    Body, Config, Effect, Error, Hop, Kind, RedirectConfig, RequestBuilder,
    testing::{CannedResponse, FaultServer},
};

use crate::net::{Net, url};

fn status(code: u16) -> CannedResponse {
    CannedResponse::new(StatusCode::from_u16(code).unwrap())
}

/// Fetches from a server that always gives this response.
async fn fetch(server: &FaultServer, answer: CannedResponse, request: RequestBuilder) -> Error {
    server.default_reply(answer);
    let error = request.fetch_bytes().await.unwrap_err();
    let failed = error.timeline().unwrap().to_string();
    let shown = format!("status {}", error.status().unwrap().as_u16());
    assert!(error.to_string().contains(&shown), "{error}");
    assert!(failed.contains(&shown), "{failed}");
    error
}

#[tokio::test]
async fn location_in_raw_utf8_is_followed() {
    let net = Net::new().await;
    let plain = FaultServer::builder().start().await.unwrap();
    let http2 = net.http2().await;
    for (server, scheme) in [(plain, "http"), (http2, "https")] {
        let moved = status(302).header("location", "/café?q=é").body("a page");
        server.on_request([moved.into()]);
        let get = net.client().get(url(&server, scheme));
        assert_eq!(get.fetch_bytes().await.unwrap(), r#"{"ok":true}"#);
        assert_eq!(server.requests()[1].target, "/caf%C3%A9?q=%C3%A9");
    }
}

#[tokio::test]
async fn redirect_without_a_location_fails_and_says_why() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let differ = |answer: CannedResponse| answer.header("location", "/a").header("location", "/b");
    for (answer, why) in [
        (status(302), "it has no Location"),
        (status(308), "it has no Location"),
        (
            status(302).header("location", "https://[::1"),
            "its Location is malformed",
        ),
        (
            status(302).header("location", "/a\tb"),
            "its Location is malformed",
        ),
        (
            differ(status(303)),
            "it has several Locations, and they differ",
        ),
        (
            status(300).header("location", "/a"),
            "this status is never followed",
        ),
        (status(305), "this status is never followed"),
        (status(399), "this status is never followed"),
    ] {
        let answer = answer.body("a page");
        for method in [Method::GET, Method::POST] {
            let before = server.requests_seen();
            let request = client.request(method.clone(), &url);
            let error = fetch(&server, answer.clone(), request).await;
            assert_eq!(
                (error.hop(), error.kind()),
                (Some(Hop::Server), Kind::RedirectRefused)
            );
            let whole = format!("the redirect was not followed: {why}");
            assert!(error.to_string().contains(&whole), "{error}");
            assert_eq!(server.requests_seen(), before + 1, "{error}");
            if method == Method::POST && error.status() != Some(StatusCode::PERMANENT_REDIRECT) {
                assert_eq!(error.effect(), Effect::Possible, "{error}");
            }
        }
    }
}

#[tokio::test]
async fn redirect_that_is_disabled_or_needs_a_lost_body_fails_and_says_why() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let url = url(&server, "http");
    let moved = || status(307).header("location", "/v2");
    let off = "the redirect was not followed: redirects are switched off";
    let error = fetch(
        &server,
        moved(),
        net.client()
            .get(&url)
            .options(|options| options.follow_redirects(false)),
    )
    .await;
    assert!(error.to_string().contains(off), "{error}");

    let settings = Config::new(std::time::Duration::from_secs(10));
    let settings = settings.redirect(RedirectConfig::new().enabled(false));
    let client = sevenhops::Client::builder_from_config(settings)
        .transport(|transport| transport.resolver(net.dns.resolver()));
    let client = client
        .transport(|transport| transport.tls(net.authority.client_config()))
        .build()
        .unwrap();
    let error = fetch(&server, moved(), client.get(&url)).await;
    assert!(error.to_string().contains(off), "{error}");

    let stream = || Body::wrap(http_body_util::Full::new(bytes::Bytes::from("once")));
    let error = fetch(&server, moved(), net.client().post(&url).body(stream())).await;
    let gone = "the redirect was not followed: the request body cannot be sent again";
    assert!(error.to_string().contains(gone), "{error}");
    assert_eq!(server.requests_seen(), 3);

    server.default_reply(CannedResponse::default());
    server.on_request([status(303).header("location", "/v2").into()]);
    let post = net.client().post(&url).body(stream());
    post.fetch_bytes().await.unwrap();
}

#[tokio::test]
async fn not_modified_is_a_success_only_for_a_conditional_request() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    for request in [
        client.get(&url),
        client.post(&url).body("amount=100"),
        client.put(&url).header("if-none-match", "\"1\""),
    ] {
        let error = fetch(&server, status(304), request).await;
        assert_eq!(
            (error.hop(), error.kind()),
            (Some(Hop::Server), Kind::ProtocolError)
        );
    }
    for name in ["if-none-match", "if-modified-since"] {
        let get = || client.get(&url).header(name, "\"1\"");
        assert!(get().fetch_bytes().await.unwrap().is_empty());
        let error = get().fetch_json::<u8>().await.unwrap_err();
        assert_eq!(
            (error.hop(), error.status()),
            (Some(Hop::Decode), Some(StatusCode::NOT_MODIFIED))
        );
    }
    let always = net.builder().default_header(
        http::header::IF_NONE_MATCH,
        http::HeaderValue::from_static("\"1\""),
    );
    let get = always.build().unwrap().get(&url);
    assert!(get.fetch_bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn partial_content_is_a_success_only_for_a_request_with_a_range() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let part = || {
        status(206)
            .header("content-range", "bytes 0-3/9")
            .body("part")
    };
    for request in [client.get(&url), client.post(&url).body("amount=100")] {
        let error = fetch(&server, part(), request).await;
        assert_eq!(
            (error.hop(), error.kind()),
            (Some(Hop::Server), Kind::ProtocolError)
        );
        let why = "the request did not ask for it";
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.effect(), Effect::Done);
    }
    let get = client.get(&url).header("range", "bytes=0-3");
    assert_eq!(get.fetch_bytes().await.unwrap(), "part");
}

#[tokio::test]
async fn status_that_is_not_final_or_of_no_class_fails() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let upgrade = || status(101).header("connection", "upgrade");
    for (answer, kind) in [
        (
            upgrade().header("upgrade", "websocket"),
            Kind::ProtocolError,
        ),
        (status(600), Kind::ServerError),
        (status(999), Kind::ServerError),
        (status(499), Kind::ClientError),
    ] {
        for method in [Method::GET, Method::POST] {
            let request = client.request(method, &url);
            let error = fetch(&server, answer.clone(), request).await;
            assert_eq!((error.hop(), error.kind()), (Some(Hop::Server), kind));
            if kind != Kind::ClientError {
                assert_eq!(error.effect(), Effect::Possible, "{error}");
            }
        }
    }
    server.default_reply(status(999));
    let response = client.get(&url).send().await.unwrap();
    let error = response.error_for_status().unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(999));
    for code in [200, 201, 204, 299] {
        server.default_reply(status(code));
        client.get(&url).fetch_bytes().await.unwrap();
    }
}

#[tokio::test]
async fn gateway_is_blamed_for_its_own_redirect() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let login = status(302).header("proxy-status", "edge; error=http_request_denied");
    let get = net.client().get(url(&server, "http"));
    let error = fetch(&server, login, get).await;
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Gateway), Kind::RedirectRefused)
    );
}

#[tokio::test]
async fn bound_of_a_body_is_not_that_of_a_redirect_on_the_way() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let moved = status(301)
        .header("location", "/there")
        .body("<html>".repeat(27));
    server.on_request([moved.into()]);
    let get = net.client().get(url(&server, "http")).body_limit(64);
    assert_eq!(get.fetch_bytes().await.unwrap(), r#"{"ok":true}"#);
}
