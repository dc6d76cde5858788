//! Tests the policies on real sockets: which requests are retried, on which connection, with which body.

mod in_time;
mod nginx;

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use sevenhops::IdempotencyConfig;
use sevenhops::hop::NoRetryReason;

use sevenhops::policy::retry::{Backoff, Budget, RetryConfig};
use sevenhops::testing::{CannedResponse, ClosedPort, ConnFault, FaultServer, Gate, Reply};
use sevenhops::{Body, Client, Effect, Hop};

use crate::net::{Net, url};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Returns settings that retry with short waits.
fn quick() -> RetryConfig {
    RetryConfig::new().backoff(Backoff::new().base(MS(5)))
}

fn client(net: &Net) -> Client {
    net.builder()
        .config(|config| config.retry(quick()))
        .build()
        .unwrap()
}

fn keyed(net: &Net) -> Client {
    let all = IdempotencyConfig::new().honored_by_all(true);
    net.builder()
        .config(|config| config.retry(quick()).idempotency(all))
        .build()
        .unwrap()
}

/// Returns a body that is produced while it is sent.
fn stream(text: &'static str) -> Body {
    Body::wrap(StreamBody::new(Once(Some(Bytes::from_static(
        text.as_bytes(),
    )))))
}

struct Once(Option<Bytes>);

impl futures_core::Stream for Once {
    type Item = Result<Frame<Bytes>, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn sixty_failing_requests_use_one_connection_because_their_bodies_are_drained() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let down = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).body(vec![b'x'; 20_000]);
    server.default_reply(down.clone());
    let unlimited = quick().budget(Budget::unlimited());
    let client = net
        .builder()
        .config(|config| config.retry(unlimited).circuit_breaker(watching()))
        .build()
        .unwrap();
    for _ in 0..20 {
        let response = client.get(url(&server, "http")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.bytes().await.unwrap().len(), 20_000);
    }
    assert_eq!((server.requests_seen(), server.connections()), (60, 1));
}

#[tokio::test]
async fn stalled_error_body_delays_the_retry_only_briefly() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let down = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).body("down");
    server.on_request([down.hold_body(&Gate::new()).into()]);
    let response = client(&net).get(url(&server, "http")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let elapsed = response.timeline().unwrap().elapsed();
    assert!((MS(250)..MS(2_000)).contains(&elapsed), "{elapsed:?}");
}

fn watching() -> sevenhops::policy::breaker::CircuitBreakerConfig {
    sevenhops::policy::breaker::CircuitBreakerConfig::new().observe_only(true)
}

#[tokio::test]
async fn whole_body_call_retries_a_body_that_broke_off() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let broken = Reply::TruncateBody {
        declared: 100,
        sent: Bytes::from_static(b"{\"ok\""),
    };
    let url = url(&server, "http");
    for (method, client, repeated) in [
        ("GET", client(&net), true),
        ("POST", client(&net), false),
        ("POST", keyed(&net), true),
    ] {
        server.on_request([broken.clone()]);
        let before = server.requests_seen();
        let method = method.parse().unwrap();
        let request = client.request(method, &url).body("amount=100");
        match request.fetch_bytes().await {
            Ok(body) => assert!(repeated && body == r#"{"ok":true}"#),
            Err(error) => {
                assert!(!repeated, "{error}");
                assert_eq!(
                    (error.hop(), error.effect()),
                    (Some(Hop::Receive), Effect::Done)
                );
            }
        }
        assert_eq!(
            server.requests_seen() - before,
            if repeated { 2 } else { 1 }
        );
    }
}

#[tokio::test]
async fn whole_body_call_retries_a_status_after_a_body_that_broke_off() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let broken = Reply::TruncateBody {
        declared: 100,
        sent: Bytes::from_static(b"{\"ok\""),
    };
    server.on_request([
        broken,
        CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into(),
    ]);
    let get = client(&net).get(url(&server, "http"));
    assert_eq!(get.fetch_bytes().await.unwrap(), r#"{"ok":true}"#);
    assert_eq!(server.requests_seen(), 3);
}

#[tokio::test]
async fn lost_response_is_retried_with_the_same_key() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    let request = keyed(&net).post(url(&server, "http")).body("amount=100");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    let seen = server.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].headers, seen[1].headers);
    assert_eq!(
        (&seen[0].body, &seen[0].target),
        (&seen[1].body, &seen[1].target)
    );
    assert!(seen[0].headers.contains_key("idempotency-key"));
}

#[tokio::test]
async fn post_without_a_key_is_retried_after_a_refused_connection_or_stream() {
    let net = Net::new().await;
    let port = ClosedPort::new().unwrap();
    let three = net
        .builder()
        .config(|config| config.retry(quick().unsent_attempts(3)));
    let refused = three
        .build()
        .unwrap()
        .post(format!("http://api.test:{}/", port.addr().port()))
        .options(|options| options.generate_key(false));
    let error = refused.send().await.unwrap_err();
    assert_eq!((error.attempts(), error.effect()), (3, Effect::None));
    let spent = NoRetryReason::AttemptsExhausted { made: 3 };
    assert_eq!(error.no_retry_reason(), Some(spent));

    let server = net.http2().await;
    server.on_request([Reply::ResetStream(h2::Reason::REFUSED_STREAM)]);
    let post = client(&net)
        .post(url(&server, "https"))
        .options(|options| options.generate_key(false));
    assert_eq!(
        post.body("amount=100").send().await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn stream_that_was_never_taken_is_sent_by_the_next_attempt() {
    let net = Net::new().await;
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    server.on_connection([ConnFault::CloseAtOnce, ConnFault::ResetOnFirstBytes]);
    let post = client(&net)
        .post(url(&server, "https"))
        .body(stream("amount=100"));
    let response = post.send().await.unwrap();
    assert_eq!(response.timeline().unwrap().attempt_count(), 3);
    let seen = server.requests();
    assert_eq!((seen.len(), &seen[0].body[..]), (1, &b"amount=100"[..]));
}

#[tokio::test]
async fn stream_that_was_taken_is_not_retried() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    let put = client(&net)
        .put(url(&server, "http"))
        .body(stream("amount=100"));
    let error = put.send().await.unwrap_err();
    assert_eq!(
        error.no_retry_reason(),
        Some(NoRetryReason::BodyNotReplayable)
    );
    assert_eq!(
        (error.effect(), server.requests_seen()),
        (Effect::Possible, 1)
    );
}

#[tokio::test]
async fn retry_costs_one_token_even_with_a_new_connection() {
    let net = Net::new().await;
    let port = ClosedPort::new().unwrap();
    let two = Budget::new()
        .ratio(0.0)
        .min_retries_per_second(2)
        .window(Duration::from_secs(1));
    let client = net
        .builder()
        .config(|config| config.retry(quick().budget(two)))
        .build()
        .unwrap();
    let get = client.get(format!("http://api.test:{}/", port.addr().port()));
    let error = get
        .options(|options| options.attempts(9))
        .send()
        .await
        .unwrap_err();
    assert_eq!((error.attempts(), error.hop()), (3, Some(Hop::Connect)));
    assert_eq!(
        error.no_retry_reason(),
        Some(NoRetryReason::BudgetExhausted)
    );
}
