//! oauth2's own flows over a server on loopback that fails.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use oauth2::basic::{BasicClient, BasicErrorResponseType, BasicRequestTokenError};
use oauth2::{
    AuthorizationCode, ClientId, ClientSecret, RequestTokenError, TokenResponse, TokenUrl,
};
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::{Effect, Error, Hop, sdk};
use sevenhops_oauth2::{OauthHttpClient, RequestError};
use tokio::time::Instant;

const TOKEN: &str = r#"{"access_token":"canary","token_type":"bearer"}"#;

type Exchanged = Result<String, BasicRequestTokenError<RequestError>>;

async fn exchange(url: String, deadline: Duration) -> Exchanged {
    let http = OauthHttpClient::new(deadline).unwrap();
    let client = BasicClient::new(ClientId::new("app".to_owned()))
        .set_client_secret(ClientSecret::new("canary".to_owned()))
        .set_token_uri(TokenUrl::new(url).unwrap());
    let code = AuthorizationCode::new("code".to_owned());
    let token = client.exchange_code(code).request_async(&http).await?;
    Ok(token.access_token().secret().clone())
}

fn failed(exchanged: Exchanged) -> Error {
    match exchanged {
        Err(RequestTokenError::Request(RequestError::Failed(error))) => error,
        other => panic!("{other:?}"),
    }
}

async fn server() -> FaultServer {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::json(TOKEN));
    server
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test]
async fn code_is_exchanged() {
    let server = server().await;
    assert_eq!(
        exchange(server.url("/token"), secs(10)).await.unwrap(),
        "canary"
    );
    let seen = server.requests();
    assert_eq!(seen[0].body, "grant_type=authorization_code&code=code");
    assert!(seen[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn lost_response_is_sent_once_and_possible() {
    let server = server().await;
    server.on_request([Reply::CloseAfterRequest]);
    let error = failed(exchange(server.url("/token"), secs(10)).await);
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Server), Effect::Possible)
    );
    assert!(error.timeline().is_some());
    assert_eq!(server.requests_seen(), 1);
    assert!(!format!("{error} {error:?} {:?}", error.timeline()).contains("canary"));
}

#[tokio::test]
async fn code_of_the_issuer_stays_its_own_error() {
    let server = server().await;
    let body = CannedResponse::json(r#"{"error":"invalid_grant"}"#);
    server.on_request([body.status(StatusCode::BAD_REQUEST).into()]);
    match exchange(server.url("/token"), secs(10)).await {
        Err(RequestTokenError::ServerResponse(said)) => {
            assert_eq!(said.error(), &BasicErrorResponseType::InvalidGrant);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn throttled_exchange_waits_for_the_hint_or_returns_it() {
    let server = server().await;
    let throttled =
        |wait| CannedResponse::new(StatusCode::TOO_MANY_REQUESTS).header("retry-after", wait);
    server.on_request([throttled("1").into()]);
    let begun = Instant::now();
    exchange(server.url("/token"), secs(10)).await.unwrap();
    assert!(begun.elapsed() >= secs(1));
    server.on_request([throttled("90").into()]);
    let error = failed(exchange(server.url("/token"), secs(10)).await);
    assert_eq!(
        (error.retry_after(), error.effect()),
        (Some(secs(90)), Effect::Declined)
    );
}

#[tokio::test]
async fn failing_status_and_refused_connection_name_their_effect() {
    let server = server().await;
    server.on_request([CannedResponse::new(StatusCode::BAD_GATEWAY).into()]);
    let error = failed(exchange(server.url("/token"), secs(10)).await);
    assert_eq!(
        (error.status(), error.effect()),
        (Some(StatusCode::BAD_GATEWAY), Effect::Possible)
    );
    let closed = ClosedPort::new().unwrap();
    let error = failed(exchange(format!("http://{}/token", closed.addr()), secs(1)).await);
    assert_eq!(
        (error.hop(), error.had_no_effect()),
        (Some(Hop::Connect), true)
    );
}

#[tokio::test]
async fn every_status_after_which_the_code_may_be_used_up_says_so() {
    let server = server().await;
    for status in [301, 302, 303, 408, 409, 424, 499, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let response = CannedResponse::new(status).header("location", "/other");
        server.on_request([response.body("see the status page").into()]);
        let error = match exchange(server.url("/token"), secs(10)).await {
            Err(RequestTokenError::Request(error)) => error,
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!(error.effect(), Effect::Possible, "{error}");
        assert!(!error.had_no_effect());
        let found = sdk::classify_error(&error);
        assert_eq!(found.effect(), Effect::Possible, "{error}");
        assert!(error.to_string().contains(status.as_str()), "{error}");
    }
    assert_eq!(server.requests_seen(), 8);
}

#[tokio::test]
async fn broken_body_is_done_and_not_sent_again() {
    let server = server().await;
    let sent = Bytes::from_static(b"{\"acc");
    server.on_request([Reply::TruncateBody { declared: 90, sent }]);
    let error = failed(exchange(server.url("/token"), secs(10)).await);
    assert_eq!(
        (error.hop(), error.effect(), server.requests_seen()),
        (Some(Hop::Receive), Effect::Done, 1)
    );
}

#[tokio::test]
async fn deadline_ends_a_silent_exchange_and_a_redirect_is_not_followed() {
    let server = server().await;
    server.on_request([Reply::Silent]);
    let begun = Instant::now();
    let error = failed(exchange(server.url("/token"), Duration::from_millis(300)).await);
    assert!(begun.elapsed() < secs(10) && error.is_timeout());
    let away = CannedResponse::new(StatusCode::TEMPORARY_REDIRECT)
        .header("location", &server.url("/other"));
    server.on_request([away.into()]);
    assert!(exchange(server.url("/token"), secs(10)).await.is_err());
    assert_eq!(server.requests_seen(), 2);
}
