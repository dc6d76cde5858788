//! async-stripe's own request types over a server on loopback that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use sevenhops::policy::retry::Failure;
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::timeout::TimeoutKind;
use sevenhops::{Effect, Hop, Kind, presets};
use sevenhops_stripe::{Client, StripeError};
use stripe_client_core::{IdempotencyKey, RequestStrategy, SharedConfigBuilder, StripeRequest};
use stripe_core::charge::{CreateCharge, RetrieveCharge};
use stripe_shared::{ApiErrorsCode, Charge};
use stripe_types::Currency;
use tokio::time::Instant;

const SECRET: &str = "sk_test_canary";
const CHARGE: &str = r#"{"object":"charge","id":"ch_1","amount":2000,"amount_captured":2000,"amount_refunded":0,
    "billing_details":{},"captured":true,"created":1,"currency":"usd","disputed":false,"livemode":false,
    "metadata":{},"paid":true,"refunded":false,"status":"succeeded"}"#;

async fn server() -> FaultServer {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::json(CHARGE));
    server
}

fn client(url: String, deadline: Duration) -> Client {
    let config = SharedConfigBuilder::new(SECRET).url(url);
    Client::new(config, deadline).unwrap()
}

async fn charge(client: &Client) -> Result<Charge, StripeError> {
    let charge = CreateCharge::new()
        .amount(2000)
        .currency(Currency::USD)
        .source("tok_visa");
    charge.customize().send(client).await
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test]
async fn lost_response_is_retried_with_the_same_key() {
    let server = server().await;
    let client = client(server.url("/"), secs(10));
    server.on_request([Reply::CloseAfterRequest]);
    let charge = charge(&client).await.unwrap();
    assert_eq!((charge.id.as_str(), charge.amount), ("ch_1", 2000));
    let [first, second] = &server.requests()[..] else {
        panic!("two requests");
    };
    assert_eq!(
        first.headers["idempotency-key"],
        second.headers["idempotency-key"]
    );
    assert_eq!(
        (first.path(), first.headers["authorization"].as_bytes()),
        ("/v1/charges", b"Bearer sk_test_canary".as_slice())
    );
    assert_eq!(first.body, "amount=2000&currency=usd&source=tok_visa");
    assert_eq!(
        first.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert!(first.headers.contains_key("stripe-version"));
}

#[tokio::test]
async fn every_response_lost_leaves_the_effect_possible() {
    let server = server().await;
    server.default_reply(Reply::CloseAfterRequest);
    let failed = charge(&client(server.url("/"), secs(10)))
        .await
        .unwrap_err();
    assert_eq!(
        (failed.effect(), failed.had_no_effect()),
        (Effect::Possible, false)
    );
    let call = failed.call().unwrap();
    assert_eq!((call.hop(), call.attempts()), (Some(Hop::Server), 3));
    assert!(call.timeline().is_some());
    assert!(
        !format!("{failed} {failed:?} {:?}", client(server.url("/"), secs(1))).contains("canary")
    );
}

#[tokio::test]
async fn strategies_of_the_sdk_are_honored_or_refused() {
    let server = server().await;
    let client = client(server.url("/"), secs(10));
    let send = async |strategy| {
        let charge = CreateCharge::new().amount(1).customize();
        charge.request_strategy(strategy).send(&client).await
    };
    server.on_request([Reply::CloseAfterRequest]);
    assert_eq!(
        send(RequestStrategy::Once).await.unwrap_err().effect(),
        Effect::Possible
    );
    assert_eq!(server.requests_seen(), 1);

    server.on_request([Reply::CloseAfterRequest, Reply::CloseAfterRequest]);
    assert_eq!(
        send(RequestStrategy::Retry(2)).await.unwrap_err().effect(),
        Effect::Possible
    );
    assert_eq!(server.requests_seen(), 3);

    server.on_request([Reply::CloseAfterRequest]);
    let key = IdempotencyKey::new("order-7").unwrap();
    send(RequestStrategy::Idempotent(key)).await.unwrap();
    let seen = server.requests();
    assert!(
        seen[3..]
            .iter()
            .all(|seen| seen.headers["idempotency-key"] == "order-7")
    );
    assert_eq!(seen.len(), 5);

    for most in [0, 256] {
        let refused = send(RequestStrategy::ExponentialBackoff(most))
            .await
            .unwrap_err();
        assert!(refused.had_no_effect(), "{refused}");
        assert!(
            refused.to_string().contains("expected 1..=255"),
            "{refused}"
        );
    }
    assert_eq!(server.requests_seen(), 5);
}

#[tokio::test]
async fn throttled_request_waits_for_the_hint_or_returns_it() {
    let server = server().await;
    let throttled =
        |wait| CannedResponse::new(StatusCode::TOO_MANY_REQUESTS).header("retry-after", wait);
    server.on_request([throttled("1").into()]);
    let begun = Instant::now();
    charge(&client(server.url("/"), secs(10))).await.unwrap();
    assert!(begun.elapsed() >= secs(1));

    server.on_request([throttled("90").into()]);
    let failed = charge(&client(server.url("/"), secs(10)))
        .await
        .unwrap_err();
    let call = failed.call().unwrap();
    assert_eq!((call.retry_after(), call.attempts()), (Some(secs(90)), 1));
    assert_eq!(failed.effect(), Effect::Declined);
}

#[tokio::test]
async fn classifier_of_the_caller_is_asked() {
    let server = server().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let classify = move |failure: &Failure<'_>| {
        count.fetch_add(1, Ordering::SeqCst);
        presets::stripe::classify(failure)
    };
    let config = SharedConfigBuilder::new(SECRET).url(server.url("/"));
    let policies = sevenhops::Config::new(secs(10));
    let client = Client::build(config, policies, |builder| builder.classify(classify)).unwrap();
    let unavailable = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE);
    server.on_request([unavailable.into()]);
    charge(&client).await.unwrap();
    assert_eq!(
        (asked.load(Ordering::SeqCst), server.requests_seen()),
        (1, 2)
    );
}

#[tokio::test]
async fn refused_connection_has_no_effect() {
    let closed = ClosedPort::new().unwrap();
    let client = client(format!("http://{}", closed.addr()), secs(1));
    let failed = charge(&client).await.unwrap_err();
    assert!(failed.had_no_effect(), "{failed}");
    assert_eq!(failed.call().unwrap().hop(), Some(Hop::Connect));
}

#[tokio::test]
async fn broken_body_is_retried_and_a_malformed_one_is_done() {
    let server = server().await;
    let client = client(server.url("/"), secs(10));
    let sent = Bytes::from_static(b"{\"id\":");
    server.on_request([Reply::TruncateBody {
        declared: 900,
        sent,
    }]);
    charge(&client).await.unwrap();
    let seen = server.requests();
    assert_eq!(
        seen[0].headers["idempotency-key"],
        seen[1].headers["idempotency-key"]
    );

    server.on_request([CannedResponse::json("{}").into()]);
    let failed = charge(&client).await.unwrap_err();
    assert!(matches!(failed, StripeError::Decode(_)), "{failed}");
    assert_eq!(failed.effect(), Effect::Done);
}

#[tokio::test]
async fn response_that_is_not_a_2xx_does_not_prove_the_charge() {
    let server = server().await;
    let page = || CannedResponse::new(StatusCode::OK).body("<html>moved</html>");
    let found = CannedResponse::new(StatusCode::FOUND).header("location", "/login");
    let moved = CannedResponse::new(StatusCode::MOVED_PERMANENTLY);
    let unmodified = CannedResponse::new(StatusCode::NOT_MODIFIED);
    for (count, reply) in (1..).zip([found, moved, unmodified]) {
        let client = client(server.url("/"), secs(10));
        server.on_request([reply.into()]);
        server.default_reply(page());
        let failed = charge(&client).await.unwrap_err();
        assert_eq!(failed.effect(), Effect::Possible, "{failed}");
        assert!(matches!(failed, StripeError::Response(..)), "{failed}");
        let call = failed.call().unwrap();
        assert!(call.status().unwrap().is_redirection(), "{failed}");
        assert_eq!(server.requests_seen(), count, "no redirect is followed");
    }
}

#[tokio::test]
async fn deadline_ends_a_silent_call() {
    let server = server().await;
    server.default_reply(Reply::Silent);
    let begun = Instant::now();
    let failed = charge(&client(server.url("/"), Duration::from_millis(300)))
        .await
        .unwrap_err();
    assert!(begun.elapsed() < secs(10));
    assert_eq!(
        (failed.effect(), failed.call().unwrap().kind()),
        (Effect::Possible, Kind::Timeout)
    );

    let client = client(server.url("/"), secs(60));
    let one = RetrieveCharge::new("ch_1")
        .customize()
        .timeout(Duration::from_millis(100));
    let failed = one.send(&client).await.unwrap_err();
    let kinds = [
        Some(TimeoutKind::Deadline),
        Some(TimeoutKind::FirstByte),
        Some(TimeoutKind::Attempt),
    ];
    assert!(
        kinds.contains(&failed.call().unwrap().timeout_kind()),
        "{failed}"
    );
    assert!(begun.elapsed() < secs(10));
}

#[tokio::test]
async fn declined_card_keeps_its_explanation() {
    let server = server().await;
    let body = r#"{"error":{"code":"card_declined","decline_code":"insufficient_funds","message":"canary","type":"card_error"}}"#;
    server.on_request([CannedResponse::json(body)
        .status(StatusCode::PAYMENT_REQUIRED)
        .into()]);
    let failed = charge(&client(server.url("/"), secs(10)))
        .await
        .unwrap_err();
    let explained = failed.api_error().unwrap();
    assert_eq!(explained.code, Some(ApiErrorsCode::CardDeclined));
    assert_eq!(
        explained.decline_code.as_deref(),
        Some("insufficient_funds")
    );
    assert_eq!(
        (failed.effect(), server.requests_seen()),
        (Effect::Declined, 1)
    );
    let shown = format!("{failed} {failed:?}");
    assert!(
        shown.contains("card_declined") && !shown.contains("canary"),
        "{shown}"
    );
}
