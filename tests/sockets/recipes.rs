//! The recipes of the page: layers of a user's. The page contains their exact text.

mod log;
mod refresh;
mod sign;

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Request, StatusCode};
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops::{Effect, Timeline};

use self::refresh::{Tokens, client_with};
use self::sign::Signer;
use crate::net::{Net, url};

#[test]
fn page_holds_the_recipes_that_are_tested() {
    let page = include_str!("../../docs/recipes.md");
    for recipe in [
        include_str!("recipes/log.rs"),
        include_str!("recipes/refresh.rs"),
        include_str!("recipes/sign.rs"),
    ] {
        let block = format!("\n```rust\n{recipe}```\n");
        assert!(page.contains(&block), "{recipe}");
    }
}

#[tokio::test]
async fn each_attempt_is_logged_with_its_number() {
    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let log = log::log_attempts(|line| LINES.lock().unwrap().push(line));
    let client = net.builder().attempt_layer(log).build().unwrap();
    let unavailable = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE);
    server.on_request([unavailable.into(), Reply::CloseAfterRequest]);
    client.get(url(&server, "http")).send().await.unwrap();
    let lines = LINES.lock().unwrap();
    let [first, second, third] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(first, "GET 1: 503 Service Unavailable");
    assert!(second.starts_with("GET 2: "), "{second}");
    assert!(second.contains("server"), "{second}");
    assert_eq!(third, "GET 3: 200 OK");
}

/// Returns a client that sends a token to `api.test` only.
fn with_token(net: &Net, tokens: &FaultServer) -> sevenhops::Client {
    let tokens = Tokens {
        client: net.client(),
        url: url(tokens, "http"),
        host: "api.test",
        current: tokio::sync::Mutex::new(None),
    };
    client_with(tokens, net.builder()).unwrap()
}

fn tokens(server: &FaultServer) -> Vec<Option<HeaderValue>> {
    let seen = server.requests().into_iter();
    seen.map(|seen| seen.headers.get("authorization").cloned())
        .collect()
}

#[tokio::test]
async fn refused_token_is_refreshed_once_and_the_request_sent_again() {
    let net = Net::new().await;
    let [api, issuer] = [
        FaultServer::start().await.unwrap(),
        FaultServer::start().await.unwrap(),
    ];
    let grant = |token: &str| CannedResponse::json(&format!(r#"{{"access_token":"{token}"}}"#));
    // The response of the second fetch is lost.
    issuer.on_request([
        grant("one").into(),
        Reply::CloseAfterRequest,
        grant("two").into(),
    ]);
    let client = with_token(&net, &issuer);
    let expired = || Reply::from(CannedResponse::new(StatusCode::UNAUTHORIZED));
    api.on_request([expired()]);
    let charged = client
        .post(url(&api, "http"))
        .body("charge")
        .send()
        .await
        .unwrap();
    assert_eq!(charged.status(), StatusCode::OK);
    assert_eq!(charged.timeline().map(Timeline::attempt_count), Some(1));
    let sent = ["Bearer one", "Bearer two"].map(|token| Some(HeaderValue::from_static(token)));
    assert_eq!(tokens(&api), sent);

    // The new token is kept. A second 401 is the response, and is not tried forever.
    issuer.default_reply(grant("three"));
    api.on_request([expired(), expired()]);
    let refused = client.get(url(&api, "http")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!((api.requests_seen(), issuer.requests_seen()), (4, 4));
    let shown = format!("{:?}", refused.timeline());
    assert!(
        !shown.contains("Bearer") && !shown.contains("three"),
        "{shown}"
    );
}

#[tokio::test]
async fn token_goes_to_its_own_host_only() {
    let net = Net::new().await;
    let issuer = FaultServer::start().await.unwrap();
    let client = with_token(&net, &issuer);
    let other = FaultServer::start().await.unwrap();
    client.get(other.url("/")).send().await.unwrap();
    assert_eq!(tokens(&other), [None]);
    assert_eq!(issuer.requests_seen(), 0);
}

#[tokio::test]
async fn failed_refresh_fails_the_attempt_and_proves_nothing() {
    let net = Net::new().await;
    let [api, issuer] = [
        FaultServer::start().await.unwrap(),
        FaultServer::start().await.unwrap(),
    ];
    issuer.default_reply(CannedResponse::new(StatusCode::FORBIDDEN));
    let error = with_token(&net, &issuer)
        .post(url(&api, "http"))
        .send()
        .await
        .unwrap_err();
    assert_eq!((error.effect(), api.requests_seen()), (Effect::Possible, 0));
}

fn signer() -> Signer {
    Signer {
        key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        region: "us-east-1",
        service: "s3",
    }
}

/// The examples of "Signature Calculations for the Authorization Header", Amazon S3 API Reference.
#[test]
fn signatures_are_those_of_the_reference() {
    let day = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
    let host = "https://examplebucket.s3.amazonaws.com";
    let examples = [
        (
            "/test.txt",
            Some("bytes=0-9"),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "/?lifecycle",
            None,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "/?max-keys=2&prefix=J",
            None,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for (target, range, signature) in examples {
        let mut request = Request::get(format!("{host}{target}"));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let mut request = request.body(()).unwrap();
        signer().sign(&mut request, b"", day).unwrap();
        let line = request.headers()["authorization"].to_str().unwrap();
        assert!(
            line.ends_with(&format!("Signature={signature}")),
            "{target}: {line}"
        );
    }
}

#[tokio::test]
async fn each_attempt_is_signed_anew() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a signature has the time of day")]
    let client = sign::client_with(signer(), SystemTime::now, net.builder()).unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    client
        .put(url(&server, "http"))
        .body("object")
        .send()
        .await
        .unwrap();
    let seen = server.requests();
    assert_eq!(seen.len(), 2);
    for seen in &seen {
        assert_eq!(seen.body, "object");
        assert!(seen.headers.contains_key("x-amz-date"));
        let line = seen.headers["authorization"].to_str().unwrap();
        assert!(
            line.contains("host;x-amz-content-sha256;x-amz-date"),
            "{line}"
        );
    }
}
