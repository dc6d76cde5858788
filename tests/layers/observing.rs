//! Tests `sdk::observe`, and operations around SDKs whose errors show nothing.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use http::{Method, StatusCode};
use sevenhops::policy::retry::{Backoff, Jitter};
use sevenhops::{
    Config, Effect, Error, Hop, Kind, Operation, OperationConfig, OperationError, RetryConfig,
    StandardLayer, sdk,
};
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, Step, request, status, with};

const SECS: fn(u64) -> Duration = Duration::from_secs;

/// The error of an SDK that reads the response itself.
#[derive(Debug)]
struct SdkError(String);

impl fmt::Display for SdkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SdkError {}

/// An SDK that keeps our error.
async fn call(mock: &Mock, method: Method) -> Result<(), Error> {
    let config = Config::new(SECS(10)).retry(RetryConfig::new().attempts(1));
    let layer = StandardLayer::from_config(&config).unwrap();
    let sent = layer.layer(mock.clone()).oneshot(request(method));
    sent.await.map(drop)
}

/// An SDK that makes text of every failure.
async fn sdk_call(mock: &Mock, method: Method) -> Result<(), SdkError> {
    let config = Config::new(SECS(10)).retry(RetryConfig::new().attempts(1));
    let layer = StandardLayer::from_config(&config).unwrap();
    match layer.layer(mock.clone()).oneshot(request(method)).await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(SdkError(format!("answered {}", response.status()))),
        Err(error) => Err(SdkError(error.to_string())),
    }
}

/// Retries by itself, as SDKs do.
async fn thrice(mock: &Mock, method: Method) -> Result<(), SdkError> {
    let _ = sdk_call(mock, method.clone()).await;
    let _ = sdk_call(mock, method.clone()).await;
    sdk_call(mock, method).await
}

#[tokio::test(start_paused = true)]
async fn status_that_an_sdk_reads_itself_gives_hop_kind_status_and_timeline() {
    let mock = Mock::new([status(503), status(503), status(503)]);
    let (output, calls) = sdk::observe(thrice(&mock, Method::PUT)).await;
    let error = output.unwrap_err();
    let found = calls.classify_error(&error);
    assert_eq!(
        (found.hop(), found.kind()),
        (Some(Hop::Server), Kind::Unavailable)
    );
    assert_eq!(found.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(
        (calls.timelines().len(), found.effect()),
        (3, Effect::Possible)
    );
    assert!(found.timeline().is_some());
    assert_eq!(
        found.to_string(),
        "failed at server: unavailable, effect possible"
    );
    // Without the calls, the error shows nothing.
    assert_eq!(sdk::classify_error(&error).hop(), None);
}

#[tokio::test(start_paused = true)]
async fn declined_request_stays_declined_and_a_lost_response_possible() {
    for (step, hop, kind, effect) in [
        (
            status(400),
            Hop::Server,
            Kind::ClientError,
            Effect::Declined,
        ),
        (
            status(409),
            Hop::Server,
            Kind::ClientError,
            Effect::Possible,
        ),
        (
            Step::Fail(ErrorKind::ConnectionReset),
            Hop::Server,
            Kind::Closed,
            Effect::Possible,
        ),
    ] {
        let mock = Mock::new([step]);
        let (output, calls) = sdk::observe(sdk_call(&mock, Method::POST)).await;
        let error = output.unwrap_err();
        let found = calls.classify_error(&error);
        assert_eq!((found.hop(), found.kind()), (Some(hop), kind));
        assert_eq!((found.effect(), calls.effect()), (effect, effect));
    }
}

#[tokio::test(start_paused = true)]
async fn success_that_an_sdk_cannot_read_is_done() {
    let mock = Mock::new([status(201)]);
    let unread = async {
        sdk_call(&mock, Method::POST).await?;
        Err::<(), _>(SdkError("no field `id`".to_owned()))
    };
    let (output, calls) = sdk::observe(unread).await;
    let error = output.unwrap_err();
    let found = calls.classify_error(&error);
    assert_eq!((found.hop(), found.effect()), (None, Effect::Done));
}

#[tokio::test(start_paused = true)]
async fn earlier_call_that_may_have_happened_outweighs_the_error_of_the_last() {
    let mock = Mock::new([status(500)]);
    let breaker = StandardLayer::new(SECS(10)).unwrap();
    let handle = breaker.breaker_handle();
    handle.isolate(&"https://api.test".parse().unwrap());
    let refused = breaker.layer(mock.clone());
    let both = async {
        let _ = sdk_call(&mock, Method::POST).await;
        refused.oneshot(request(Method::POST)).await.map(drop)
    };
    let (output, calls) = sdk::observe(both).await;
    let error = output.unwrap_err();
    assert_eq!(sdk::classify_error(&error).effect(), Effect::None);
    let found = calls.classify_error(&error);
    assert_eq!(
        (found.kind(), found.effect()),
        (Kind::CircuitOpen, Effect::Possible)
    );
}

#[tokio::test(start_paused = true)]
async fn proof_needs_our_own_error() {
    let breaker = StandardLayer::new(SECS(10)).unwrap();
    let handle = breaker.breaker_handle();
    handle.isolate(&"https://api.test".parse().unwrap());
    let refused = breaker.layer(Mock::new([]));
    let send = async || refused.clone().oneshot(request(Method::POST)).await;
    let text = async || send().await.map_err(|error| SdkError(error.to_string()));
    let (output, calls) = sdk::observe(text()).await;
    let error = output.unwrap_err();
    let found = calls.classify_error(&error);
    assert_eq!(
        (found.kind(), found.effect()),
        (Kind::CircuitOpen, Effect::Possible)
    );
    let (output, calls) = sdk::observe(send()).await;
    let error = output.unwrap_err();
    assert!(calls.classify_error(&error).had_no_effect());
}

#[tokio::test(start_paused = true)]
async fn call_in_another_task_is_observed_only_inside_it() {
    let mock = Mock::new([]);
    let spawned = mock.clone();
    let outside = async { tokio::spawn(async move { call(&spawned, Method::GET).await }).await };
    let (_, calls) = sdk::observe(outside).await;
    assert!(calls.last().is_none());
    let spawned = mock.clone();
    let inside = async move { sdk::observe(call(&spawned, Method::GET)).await.1 };
    let calls = tokio::spawn(inside).await.unwrap();
    assert_eq!(calls.timelines().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn observations_nest_and_an_operation_is_one_call() {
    let mock = Mock::new([]);
    let operation = Operation::new("api", SECS(10)).unwrap();
    let all = async {
        let (_, inner) = sdk::observe(call(&mock, Method::GET)).await;
        let run = operation.run(async |_| {
            let (output, within) = sdk::observe(call(&mock, Method::GET)).await;
            assert_eq!(within.timelines().len(), 1);
            Ok(output?)
        });
        run.await.unwrap();
        inner.timelines().len()
    };
    let (inner, calls) = sdk::observe(Box::pin(all)).await;
    assert_eq!((inner, calls.timelines().len()), (1, 2));
    assert_eq!(calls.last().unwrap().method(), None);
}

#[tokio::test(start_paused = true)]
async fn only_the_latest_calls_are_kept_and_the_others_may_have_happened() {
    let mock = Mock::new((0..101).map(|_| status(404)));
    let many = async {
        for _ in 0..101 {
            let _ = sdk_call(&mock, Method::POST).await;
        }
    };
    let ((), calls) = sdk::observe(many).await;
    assert_eq!(
        (calls.timelines().len(), calls.effect()),
        (100, Effect::Possible)
    );
}

#[tokio::test(start_paused = true)]
async fn effect_of_several_calls_is_that_of_the_changing_ones_and_never_proves_nothing() {
    use Method as M;
    type Calls = &'static [(Method, u16)];
    let rows: &[(Calls, Effect)] = &[
        (&[], Effect::Possible),
        // One call is the work.
        (&[(M::POST, 201)], Effect::Done),
        (&[(M::GET, 200)], Effect::Done),
        // One of two parts does not complete the work.
        (&[(M::POST, 201), (M::POST, 201)], Effect::Possible),
        (&[(M::POST, 201), (M::POST, 400)], Effect::Possible),
        (&[(M::POST, 400), (M::POST, 400)], Effect::Declined),
        // A safe method changes nothing.
        (&[(M::GET, 200), (M::POST, 400)], Effect::Declined),
        (&[(M::GET, 500), (M::HEAD, 200)], Effect::Possible),
    ];
    for (asked, expected) in rows {
        let mock = Mock::new(asked.iter().map(|(_, code)| status(*code)));
        let work = async {
            for (method, _) in *asked {
                let _ = sdk_call(&mock, method.clone()).await;
            }
        };
        let ((), calls) = sdk::observe(work).await;
        assert_eq!(calls.effect(), *expected, "{asked:?}");
    }
}

fn operation() -> Operation {
    let steady = RetryConfig::new().backoff(Backoff::new().jitter(Jitter::None));
    Operation::from_config("api", OperationConfig::new(SECS(60)).retry(steady))
        .unwrap()
        .idempotent(true)
}

#[tokio::test(start_paused = true)]
async fn operation_does_not_retry_a_status_that_would_come_again() {
    for (transient, count) in [(false, 1), (true, 3)] {
        let mock = Mock::new((0..9).map(|_| status(400)));
        let operation = operation();
        let run = operation.run(async |_| {
            let failed = sdk_call(&mock, Method::POST).await;
            failed.map_err(|error| match transient {
                true => OperationError::unknown(error).transient(),
                false => error.into(),
            })
        });
        let error = run.await.unwrap_err();
        assert_eq!(mock.count(), count, "{transient}");
        assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST));
        assert_eq!(
            (error.hop(), error.effect()),
            (Some(Hop::Server), Effect::Possible)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn operation_waits_as_the_response_inside_requested() {
    let mock = Mock::new([with(503, "retry-after", "7")]);
    let operation = operation();
    let run = operation.run(async |_| Ok(sdk_call(&mock, Method::POST).await?));
    run.await.unwrap();
    assert!(mock.waits()[0] >= SECS(7));
}

#[tokio::test(start_paused = true)]
async fn heard_effect_is_that_of_the_calls_inside() {
    let mock = Mock::new([status(400)]);
    let operation = operation();
    let run = operation.run(async |_| {
        let failed = sdk_call(&mock, Method::POST).await;
        failed.map_err(OperationError::from_error)
    });
    assert_eq!(run.await.unwrap_err().effect(), Effect::Declined);
}

#[tokio::test(start_paused = true)]
async fn work_that_says_what_happened_is_believed() {
    let mock = Mock::new((0..9).map(|_| status(400)));
    let operation = operation();
    let run = operation.run(async |_| {
        let failed = sdk_call(&mock, Method::POST).await;
        failed.map_err(|error| OperationError::not_sent(error).permanent())
    });
    let error = run.await.unwrap_err();
    assert_eq!(
        (error.hop(), error.effect(), error.status()),
        (None, Effect::None, None)
    );
}
