//! Tests callers that drop their call, and many callers at the same moment.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use sevenhops::{
    CircuitBreakerConfig, CircuitBreakerLayer, Policy,
    policy::breaker::{CircuitState, Recovery},
};

use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt};

use super::mock::*;

#[tokio::test(start_paused = true)]
async fn cancelled_at_every_await_point_a_probe_returns_its_permit() {
    for point in ["pending", "head", "mid-body"] {
        let (mock, service, breaker) = opened(CircuitBreakerConfig::new()).await;
        advance(OPEN_TIME).await;
        mock.set(match point {
            "pending" => Leaf::Hangs,
            _ => Leaf::Stalls,
        });
        let mut future = Box::pin(service.clone().oneshot(get()));
        if let Poll::Ready(response) = poll_once(future.as_mut()) {
            let mut body = response.unwrap().into_body();
            assert!(ask(&service).await.is_err(), "{point}: the probe is out");
            if point == "mid-body" {
                body.frame().await.unwrap().unwrap();
                assert!(poll_once(Box::pin(body.frame()).as_mut()).is_pending());
            }
            drop(body);
            // The response came, and the caller did not read its body to the end.
            assert_eq!(breaker.state(&api()), CircuitState::Closed, "{point}");
            continue;
        }
        assert!(ask(&service).await.is_err(), "{point}: the probe is out");
        drop(future);
        mock.set(Leaf::Answers(200));
        assert!(ask(&service).await.is_ok(), "{point}");
        assert_eq!(breaker.state(&api()), CircuitState::Closed, "{point}");
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_call_that_was_never_polled_returns_its_permit() {
    let (mock, mut service, breaker) = opened(CircuitBreakerConfig::new()).await;
    advance(OPEN_TIME).await;
    mock.set(Leaf::Hangs);
    std::future::poll_fn(|cx| ready(&mut service, cx)).await;
    let probe = service.call(get());
    assert!(ask(&service).await.is_err());
    drop(probe);
    assert_eq!(breaker.state(&api()), CircuitState::HalfOpen);
    mock.set(Leaf::Answers(200));
    assert!(ask(&service).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn cancelled_calls_count_nothing() {
    let (mock, service, breaker) = over(Leaf::Hangs);
    for _ in 0..1_000 {
        let mut future = Box::pin(ask(&service));
        assert!(poll_once(future.as_mut()).is_pending());
    }
    assert_eq!(breaker.state(&api()), CircuitState::Closed);
    mock.set(Leaf::Answers(503));
    fail(&service, 19).await;
    assert_eq!(breaker.state(&api()), CircuitState::Closed);
    fail(&service, 1).await;
    assert_eq!(breaker.state(&api()), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn thousand_callers_at_the_edge_are_one_inner_call() {
    for probes in [1, 3] {
        let (mock, service, _) =
            opened(CircuitBreakerConfig::new().recovery(Recovery::Successes(probes))).await;
        advance(OPEN_TIME).await;
        mock.set(Leaf::Hangs);
        let before = mock.calls();
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            let service = service.clone();
            callers.spawn(async move { service.oneshot(get()).await.map(drop) });
        }
        for _ in probes..1_000 {
            let refused = callers.join_next().await.unwrap().unwrap().unwrap_err();
            assert_eq!(refused.rejected_by(), Some(Policy::Breaker));
        }
        assert_eq!(mock.calls() - before, probes as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn successful_call_allocates_once() {
    let answer = |_request: Request<()>| {
        let body = http_body_util::Empty::<Bytes>::new();
        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
    };
    let mut service = CircuitBreakerLayer::new(timeouts()).layer(tower::service_fn(answer));
    let mut requests: Vec<_> = std::iter::repeat_with(get).take(100).collect();
    let mut once = |request| {
        let calling = std::pin::pin!(service.call(request));
        assert!(poll_once(calling).is_ready());
    };
    once(get());
    let memory = allocation_counter::measure(|| requests.drain(..).for_each(&mut once));
    // The driver allocates once for each call, for its record.
    assert_eq!(memory.count_total, 100);
}

#[tokio::test(start_paused = true)]
async fn service_that_was_polled_ready_is_the_one_that_is_called() {
    /// Counts the services that were made ready and not called.
    struct Reserved(i32);

    impl Service<Request<()>> for Reserved {
        type Response = Response<Script>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Script>, Infallible>>;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 += 1;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _request: Request<()>) -> Self::Future {
            self.0 -= 1;
            assert_eq!(self.0, 0, "called without being ready");
            let body = Script::of(Leaf::Answers(200));
            std::future::ready(Ok(Response::new(body)))
        }
    }

    let mut service = CircuitBreakerLayer::new(timeouts()).layer(Reserved(0));
    for _ in 0..3 {
        let start = Instant::now();
        assert!(service.ready().await.unwrap().call(get()).await.is_ok());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
