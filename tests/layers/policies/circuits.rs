//! Tests circuits: the failures that open them, the ways to close them, and their events.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use sevenhops::{
    CircuitBreakerConfig, CircuitBreakerLayer, Destination, Policy, RetryConfig, StandardLayer,
    Timeouts,
    hop::FailureClass,
    policy::breaker::{CircuitEvent, CircuitEventKind, CircuitState},
};

use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt, service_fn};

use crate::mock::{Mock, Step, request, status, with};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

pub(super) fn api() -> Destination {
    "https://api.test".parse().unwrap()
}

/// Returns a stack that makes one attempt.
pub(super) fn once(breaker: CircuitBreakerConfig) -> StandardLayer {
    let retry = RetryConfig::new().attempts(1).unsent_attempts(1);
    let settings = sevenhops::Config::new(SECS(10)).retry(retry);
    StandardLayer::from_config(&settings.circuit_breaker(breaker)).unwrap()
}

/// Makes this number of calls. Returns how many of them the circuit rejected.
pub(super) async fn rejections(layer: &StandardLayer, mock: &Mock, calls: u32) -> u32 {
    let mut rejected = 0;
    for _ in 0..calls {
        let ended = layer
            .layer(mock.clone())
            .oneshot(request(Method::GET))
            .await;
        rejected +=
            u32::from(ended.is_err_and(|error| error.rejected_by() == Some(Policy::Breaker)));
    }
    rejected
}

#[tokio::test(start_paused = true)]
async fn classifier_decides_about_failures_by_status() {
    for (class, expected) in [
        (FailureClass::Permanent, CircuitState::Closed),
        (FailureClass::Success, CircuitState::Closed),
        (FailureClass::Ignore, CircuitState::Closed),
        (FailureClass::Throttled, CircuitState::Closed),
        (FailureClass::Transient, CircuitState::Open),
    ] {
        let layer = once(CircuitBreakerConfig::new()).classify(move |_| Some(class));
        let mock = Mock::new((0..40).map(|_| status(500)));
        rejections(&layer, &mock, 40).await;
        assert_eq!(layer.breaker_handle().state(&api()), expected, "{class:?}");
        let alone = CircuitBreakerLayer::new(Timeouts::new(SECS(10)).unwrap());
        let alone = alone.classify(move |failure| {
            assert_eq!(failure.method(), Method::GET);
            Some(class)
        });
        let mock = Mock::new((0..40).map(|_| status(500)));
        for _ in 0..40 {
            let _ = alone
                .layer(mock.clone())
                .oneshot(request(Method::GET))
                .await;
        }
        assert_eq!(
            alone.breaker_handle().state(&api()),
            expected,
            "alone: {class:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn classifier_runs_once_for_retry_and_breaker() {
    let asked = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&asked);
    let layer = once(CircuitBreakerConfig::new()).classify(move |_| {
        *counter.lock().unwrap() += 1;
        None
    });
    let mock = Mock::new([status(500), Step::Fail(ErrorKind::ConnectionReset)]);
    rejections(&layer, &mock, 3).await;
    assert_eq!(*asked.lock().unwrap(), 2, "a success is not classified");
}

#[tokio::test(start_paused = true)]
async fn probe_that_is_throttled_closes_the_circuit() {
    let layer = once(CircuitBreakerConfig::new());
    let mock = Mock::new((0..20).map(|_| status(500)).chain([status(429)]));
    assert_eq!(rejections(&layer, &mock, 20).await, 0);
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Open);
    advance(SECS(6)).await;
    assert_eq!(rejections(&layer, &mock, 10).await, 0);
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn probe_with_retry_after_reopens_the_circuit_for_that_time() {
    let layer = once(CircuitBreakerConfig::new());
    let later = with(503, "retry-after", "60");
    let mock = Mock::new((0..20).map(|_| status(500)).chain([later]));
    rejections(&layer, &mock, 20).await;
    advance(SECS(6)).await;
    rejections(&layer, &mock, 1).await;
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Open);
    advance(SECS(59)).await;
    assert_eq!(rejections(&layer, &mock, 1).await, 1);
    advance(SECS(13)).await;
    assert_eq!(rejections(&layer, &mock, 1).await, 0);
}

#[tokio::test(start_paused = true)]
async fn unavailable_with_a_hint_does_not_open_the_circuit() {
    let layer = once(CircuitBreakerConfig::new());
    let mock = Mock::new((0..100).map(|_| with(503, "retry-after", "7")));
    assert_eq!(rejections(&layer, &mock, 100).await, 0);
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Closed);
}

/// Returns a service that accepts one request each tenth of a second and responds 503 to the others, as nginx does.
fn rate_limited() -> impl tower::Service<
    Request<Full<Bytes>>,
    Response = Response<Full<Bytes>>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send {
    let next = Arc::new(Mutex::new(Instant::now()));
    service_fn(move |_: Request<Full<Bytes>>| {
        let now = Instant::now();
        let mut next = next.lock().unwrap();
        let status = match *next <= now {
            true => 200,
            false => 503,
        };
        if status == 200 {
            *next = now + MS(100);
        }
        let response = Response::builder().status(status).body(Full::default());
        std::future::ready(Ok(response.unwrap()))
    })
}

#[tokio::test(start_paused = true)]
async fn rate_limit_by_503_does_not_open_the_circuit() {
    let layer = StandardLayer::new(SECS(10)).unwrap();
    // Sends three times the rate for three seconds: through the stack, and with a plain client.
    let (mut answered, mut rejected) = ([0, 0], 0);
    let (behind, plain) = (rate_limited(), rate_limited());
    let calls: Vec<_> = (0..90)
        .map(|number| {
            let (stack, plain) = (layer.layer(behind.clone()), plain.clone());
            tokio::spawn(async move {
                sleep(MS(33) * number).await;
                let ours = stack.oneshot(request(Method::GET)).await;
                let theirs = plain.oneshot(request(Method::GET)).await.unwrap();
                (ours.map(|response| response.status()), theirs.status())
            })
        })
        .collect();
    for call in calls {
        let (ours, theirs) = call.await.unwrap();
        match ours {
            Ok(status) => answered[0] += u32::from(status == 200),
            Err(error) => rejected += u32::from(error.rejected_by().is_some()),
        }
        answered[1] += u32::from(theirs == 200);
    }
    assert_eq!(
        (rejected, layer.breaker_handle().state(&api())),
        (0, CircuitState::Closed)
    );
    assert!(answered[0] >= answered[1], "{answered:?}");
}

#[tokio::test(start_paused = true)]
async fn short_calls_to_a_service_that_takes_longer_do_not_open_the_circuit() {
    let layer = once(CircuitBreakerConfig::new());
    let service = service_fn(|_: Request<Full<Bytes>>| async {
        sleep(MS(20)).await;
        Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default()))
    });
    for _ in 0..40 {
        let mut short = request(Method::GET);
        let deadline = Duration::from_millis(10);
        short
            .extensions_mut()
            .insert(sevenhops::Options::new().deadline(deadline));
        assert!(layer.layer(service).oneshot(short).await.is_err());
    }
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn slow_failures_count_as_slow() {
    let slow = CircuitBreakerConfig::new()
        .slow_calls(SECS(4), 0.5)
        .min_attempts(10);
    let layer = once(slow);
    let number = Arc::new(Mutex::new(0));
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let number = {
            let mut number = number.lock().unwrap();
            *number += 1;
            *number
        };
        async move {
            if number > 2 {
                sleep(MS(4_500)).await;
            }
            match number % 2 == 0 && number > 2 {
                true => Err(std::io::Error::from(ErrorKind::ConnectionReset)),
                false => Ok(Response::new(Full::<Bytes>::default())),
            }
        }
    });
    let calls = (0..10).map(|_| layer.layer(service.clone()).oneshot(request(Method::GET)));
    let calls: Vec<_> = calls
        .map(|call| tokio::spawn(async move { call.await.map(drop) }))
        .collect();
    for call in calls {
        let _ = call.await.unwrap();
    }
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Open);
    let error = layer
        .layer(service)
        .oneshot(request(Method::GET))
        .await
        .unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "8 of 10 attempts were slow");
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_and_a_panic_loses_none() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    let layer = once(CircuitBreakerConfig::new())
        .on_breaker_event(|_| panic!("on purpose"))
        .on_breaker_event(move |event: &CircuitEvent| {
            assert_eq!(event.destination(), &api());
            let cause = event.cause().map(ToString::to_string);
            notes
                .lock()
                .unwrap()
                .push((event.kind(), cause, event.retry_after().is_some()));
        });
    let mock = Mock::new((0..20).map(|_| status(500)));
    rejections(&layer, &mock, 21).await;
    advance(SECS(6)).await;
    rejections(&layer, &mock, 2).await;
    layer.breaker_handle().isolate(&api());
    let failed = || Some("20 of 20 attempts failed, 20 at server (server error)".to_owned());
    assert_eq!(
        *told.lock().unwrap(),
        [
            (CircuitEventKind::Opened, failed(), true),
            (CircuitEventKind::Rejected, failed(), true),
            (CircuitEventKind::HalfOpened, None, false),
            (CircuitEventKind::Closed, None, false),
            (CircuitEventKind::Isolated, None, false),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn observing_breaker_keeps_counting_while_it_is_open() {
    let layer = once(CircuitBreakerConfig::new().observe_only(true));
    let rejected = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&rejected);
    let layer = layer.on_breaker_event(move |event| {
        *counter.lock().unwrap() += u32::from(event.kind() == CircuitEventKind::Rejected);
    });
    let mock = Mock::new((0..25).map(|_| status(500)));
    assert_eq!(rejections(&layer, &mock, 60).await, 0);
    let seen = layer.breaker_handle().snapshot(&api()).unwrap();
    assert_eq!((seen.state(), mock.count()), (CircuitState::Open, 60));
    assert_eq!((seen.attempts(), seen.failures()), (40, 5));
    assert_eq!(
        *rejected.lock().unwrap(),
        40,
        "it would have rejected this many"
    );
}

#[tokio::test(start_paused = true)]
async fn snapshot_shows_the_window() {
    let layer = once(CircuitBreakerConfig::new().slow_calls(SECS(1), 1.0));
    assert!(layer.breaker_handle().snapshot(&api()).is_none());
    let steps = [
        status(500),
        status(503),
        status(200),
        Step::Fail(ErrorKind::ConnectionReset),
    ];
    rejections(&layer, &Mock::new(steps), 5).await;
    let seen = layer.breaker_handle().snapshot(&api()).unwrap();
    assert_eq!(
        (seen.attempts(), seen.failures(), seen.overloads()),
        (5, 2, 1)
    );
    assert_eq!(
        (seen.state(), seen.slow(), seen.open_left()),
        (CircuitState::Closed, 0, None)
    );
}

#[tokio::test(start_paused = true)]
async fn tenants_have_their_own_circuits_and_budgets() {
    let layer = StandardLayer::new(SECS(10))
        .unwrap()
        .key_by(|_, uri, headers| {
            let tenant = headers.get("x-tenant")?.to_str().ok()?;
            Some(Destination::named(format!(
                "{}#{tenant}",
                Destination::of(uri)?
            )))
        });
    let ask = async |tenant: &'static str, step: Step| {
        let mut get = request(Method::GET);
        get.headers_mut()
            .insert("x-tenant", tenant.parse().unwrap());
        let mock = Mock::new((0..3).map(|_| step.clone()));
        layer.layer(mock).oneshot(get).await
    };
    for _ in 0..10 {
        let _ = ask("bad", status(500)).await;
    }
    let [good, bad] =
        ["good", "bad"].map(|tenant| Destination::named(format!("https://api.test#{tenant}")));
    let breaker = layer.breaker_handle();
    assert_eq!(
        (breaker.state(&bad), breaker.state(&good)),
        (CircuitState::Open, CircuitState::Closed)
    );
    assert_eq!(ask("good", status(200)).await.unwrap().status(), 200);
    let left = [&good, &bad].map(|tenant| layer.budgets().left(tenant).unwrap());
    assert!(left[0] == 100 && left[1] < 100, "{left:?}");
    assert_eq!(layer.budgets().left(&api()), None);
}
