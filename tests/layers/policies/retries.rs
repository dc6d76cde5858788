//! Tests which attempts count, which failures are transient, and the cost of a retry.

use std::io::{Error as IoError, ErrorKind};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use sevenhops::{
    CircuitBreakerConfig, DeadlineLayer, Destination, Effect, IdempotencyConfig, Operation,
    OperationConfig, OperationError, Options, RetryLayer, StandardLayer,
    hop::NoRetryReason,
    policy::{breaker, retry::Budget},
};

use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::mock::{Mock, Step, optional, request, stack, standard, status, steady};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

type Foreign = Box<dyn std::error::Error + Send + Sync>;

/// Runs an operation that cannot be sent before its `sent`th attempt. Returns the number of attempts.
async fn unsent_until(settings: OperationConfig, sent: u32) -> (u32, Result<(), sevenhops::Error>) {
    let operation = Operation::from_config("queue.test", settings).unwrap();
    let made = std::sync::atomic::AtomicU32::new(0);
    let ended = operation.run(async |attempt| {
        made.store(attempt.number(), std::sync::atomic::Ordering::Relaxed);
        match attempt.number() < sent {
            true => Err(OperationError::not_sent(IoError::from(
                ErrorKind::ConnectionRefused,
            ))),
            false => Ok(()),
        }
    });
    let ended = ended.await;
    (made.into_inner(), ended)
}

#[tokio::test(start_paused = true)]
async fn unsent_attempts_have_their_own_bound() {
    let settings = || OperationConfig::new(SECS(60)).retry(steady().attempts(1));
    assert!(matches!(unsent_until(settings(), 10).await, (10, Ok(()))));
    let (made, ended) = unsent_until(settings(), 11).await;
    let error = ended.unwrap_err();
    assert_eq!((made, error.effect()), (10, Effect::None));
    let spent = NoRetryReason::AttemptsExhausted { made: 10 };
    assert_eq!(error.no_retry_reason(), Some(spent));
    let once = settings().retry(steady().attempts(1).unsent_attempts(1));
    assert_eq!(unsent_until(once, 2).await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn failure_of_an_unknown_kind_is_transient() {
    let failures: [fn() -> Foreign; 3] = [
        || "the pool is closed".into(),
        || IoError::other("no idea").into(),
        || tower::timeout::error::Elapsed::new().into(),
    ];
    for failure in failures {
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counter = std::sync::Arc::clone(&sent);
        let service = service_fn(move |_: Request<Full<Bytes>>| {
            let first = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            async move {
                match first {
                    true => Err(failure()),
                    false => Ok(Response::new(Full::<Bytes>::default())),
                }
            }
        });
        let retry = RetryLayer::new(steady()).unwrap();
        let layers = ServiceBuilder::new()
            .layer(DeadlineLayer::new(SECS(10)).unwrap())
            .layer(retry);
        let response = layers
            .service(service.clone())
            .oneshot(request(Method::GET))
            .await;
        assert_eq!(response.unwrap().status(), 200, "{}", failure());
        let whole = standard(steady()).layer(service.clone());
        whole.oneshot(request(Method::GET)).await.unwrap();
        // A POST that may have had an effect is still not retried.
        sent.store(0, std::sync::atomic::Ordering::Relaxed);
        let whole = standard(steady()).layer(service);
        let error = whole.oneshot(request(Method::POST)).await.unwrap_err();
        assert_eq!(error.effect(), Effect::Possible, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_retry_costs_one_token_even_with_a_new_connection() {
    let sixty = Budget::new()
        .ratio(0.0)
        .min_retries_per_second(60)
        .window(SECS(1));
    let retry = steady().budget(sixty).unsent_attempts(255);
    let retry = retry.backoff(fast());
    let settings = OperationConfig::new(SECS(1)).retry(retry);
    let settings = settings.circuit_breaker(CircuitBreakerConfig::new().min_attempts(1_000));
    let operation = Operation::from_config("queue.test", settings).unwrap();
    let made = std::sync::atomic::AtomicU32::new(0);
    for _ in 0..2 {
        let run = operation.run(async |_| {
            made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Err::<(), _>(OperationError::not_sent(IoError::from(
                ErrorKind::ConnectionRefused,
            )))
        });
        let _ = run.await;
    }
    assert_eq!(made.into_inner(), 60 + 2);
}

fn fast() -> sevenhops::policy::retry::Backoff {
    use sevenhops::policy::retry::{Backoff, Jitter};
    let base = Backoff::new().jitter(Jitter::None).base(MS(1));
    base.cap(MS(1))
}

#[tokio::test(start_paused = true)]
async fn post_that_only_reads_is_retried_and_needs_no_key() {
    let mock = Mock::new([Step::Fail(ErrorKind::ConnectionReset), status(503)]);
    let search = optional(Method::POST, Options::new().idempotent(true));
    let response = stack(steady(), &mock).oneshot(search).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (200, 3));
    assert!(
        mock.asked()
            .iter()
            .all(|asked| asked.header("idempotency-key").is_none())
    );
}

#[tokio::test(start_paused = true)]
async fn read_only_option_ends_if_a_layer_rewrites_the_request() {
    for (to, retried) in [
        ("https://api.test/v1/charges?order=1", true),
        ("https://api.test/", false),
    ] {
        let mock = Mock::new([Step::Fail(ErrorKind::ConnectionReset)]);
        let inner = stack(steady(), &mock);
        let rewriting = service_fn(move |mut request: Request<Full<Bytes>>| {
            *request.uri_mut() = to.parse().unwrap();
            inner.clone().oneshot(request)
        });
        let outer = standard(steady().attempts(1)).layer(rewriting);
        let search = optional(Method::POST, Options::new().idempotent(true));
        let response = outer.oneshot(search).await;
        assert_eq!(response.is_ok(), retried, "{to}");
    }
}

#[tokio::test(start_paused = true)]
async fn relative_uris_share_one_budget_and_one_circuit() {
    let five = Budget::new()
        .ratio(0.0)
        .min_retries_per_second(5)
        .window(SECS(1));
    let retry = steady().budget(five).backoff(fast());
    let settings = sevenhops::Config::new(SECS(10)).retry(retry);
    let settings = settings.circuit_breaker(CircuitBreakerConfig::new().min_attempts(100));
    let layer = StandardLayer::from_config(&settings).unwrap();
    let mock = Mock::new((0..1_000).map(|_| status(500)));
    let service = layer.layer(mock.clone());
    let mut open = 0;
    for number in 0..200 {
        let mut get = request(Method::GET);
        *get.uri_mut() = format!("/orders/{number}").parse().unwrap();
        open += u32::from(service.clone().oneshot(get).await.is_err());
    }
    assert_eq!(mock.count(), 100, "the circuit opens after this many");
    assert_eq!(open, 200 - (100 - 5));
    let relative = Destination::relative();
    assert_eq!(
        layer.breaker_handle().state(&relative),
        breaker::CircuitState::Open
    );
}

#[tokio::test(start_paused = true)]
async fn key_under_its_older_header_name_is_the_key_of_the_call() {
    for configured in ["idempotency-key", "x-request-key"] {
        for brought in ["x-idempotency-key", "idempotency-key", configured] {
            let name: http::HeaderName = configured.parse().unwrap();
            let keys = IdempotencyConfig::new().header(name);
            let settings = sevenhops::Config::new(SECS(10))
                .retry(steady())
                .idempotency(keys);
            let mock = Mock::new([Step::Fail(ErrorKind::ConnectionReset)]);
            let service = StandardLayer::from_config(&settings)
                .unwrap()
                .layer(mock.clone());
            let mut post = request(Method::POST);
            post.headers_mut().insert(brought, "k-1".parse().unwrap());
            // A key that the caller supplied permits the retry.
            service.oneshot(post).await.unwrap();
            let asked = mock.asked();
            assert_eq!(asked.len(), 2, "{configured} {brought}");
            for asked in asked {
                let names = ["idempotency-key", "x-idempotency-key", "x-request-key"];
                let keys: Vec<_> = names
                    .iter()
                    .filter(|name| asked.header(name).is_some())
                    .collect();
                assert_eq!(keys, [&brought], "{configured}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn idempotent_option_does_not_apply_after_a_redirect() {
    let moved = || Step::Answer(308, vec![("location", "/orders".to_owned())], Bytes::new());
    let mock = Mock::new([moved(), status(503), status(200)]);
    let options = Options::new().idempotent(true);
    let response = stack(steady(), &mock).oneshot(optional(Method::POST, options));
    assert_eq!(response.await.unwrap().status(), 503);
    let asked = mock.asked();
    let paths: Vec<_> = asked.iter().map(|asked| asked.head.uri.path()).collect();
    assert_eq!(paths, ["/v1/charges", "/orders"]);
}
