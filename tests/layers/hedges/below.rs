//! Tests policies below the hedges that reject an attempt: it sent nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use sevenhops::policy::retry::Budgets;
use sevenhops::{
    CircuitBreakerConfig, CircuitBreakerLayer, Config, DeadlineLayer, HedgeConfig, HedgeLayer,
    Options, RateLimitConfig, RateLimitLayer, RetryConfig, RetryLayer, StandardLayer, Timeouts,
};
use tokio::time::{Instant, sleep};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

use super::service::{MILLIS, Reply, SECS, Slow, after, get, refusal, steady};

type Guarded = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

/// The service below a rate limit, which rejects the request with this number after a time. It passes all others.
fn guarded(slow: &Slow, rejected: usize, after: Duration) -> Guarded {
    let nothing = service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let one = RateLimitConfig::new(1).per(SECS(1_000)).burst(1);
    let limited = RateLimitLayer::new(one).unwrap().layer(nothing);
    let (slow, number) = (slow.clone(), Arc::new(AtomicUsize::new(0)));
    BoxCloneSyncService::new(service_fn(move |request| {
        let (slow, limited) = (slow.clone(), limited.clone());
        let is_rejected = number.fetch_add(1, Ordering::Relaxed) == rejected;
        async move {
            if !is_rejected {
                return Ok(slow.oneshot(request).await?);
            }
            limited.clone().oneshot(get()).await.ok();
            sleep(after).await;
            let rejected = limited.oneshot(request).await;
            Err(rejected.map(drop).unwrap_err().into())
        }
    }))
}

fn emptied<B>(response: Response<B>) -> Response<Full<Bytes>> {
    response.map(|_| Full::default())
}

fn left(budgets: &Budgets) -> i64 {
    budgets.left(&"https://api.test".parse().unwrap()).unwrap()
}

fn standard(hedge: HedgeConfig, retry: RetryConfig) -> StandardLayer {
    let config = Config::new(SECS(10)).hedge(hedge).retry(retry);
    StandardLayer::from_config(&config).unwrap()
}

#[tokio::test(start_paused = true)]
async fn rejected_hedge_does_not_decide_about_the_failure_beside_it() {
    // The first attempt fails at 150 ms, and the hedge is rejected at 200 ms.
    let slow = Slow::new([(MILLIS(150), Reply::Status(503))]);
    let layer = standard(after(MILLIS(100)), steady());
    let begun = Instant::now();
    let service = layer.layer(guarded(&slow, 1, MILLIS(100)));
    let response = service.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!((slow.count(), begun.elapsed()), (2, MILLIS(1_200)));

    // Without retries, the caller gets the failed response.
    let slow = Slow::new([(MILLIS(150), Reply::Status(503))]);
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECS(10)).unwrap())
        .layer(HedgeLayer::new(after(MILLIS(100))).unwrap())
        .service(guarded(&slow, 1, MILLIS(100)));
    let response = service.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn rejected_hedge_is_paid_back_once() {
    // The first attempt succeeds or fails, before or after the hedge is rejected.
    for (first, status, after_time) in [(300, 200, 0), (300, 503, 0), (150, 503, 100)] {
        let layer = standard(HedgeConfig::new(), steady().attempts(2));
        let warm = Slow::new(vec![(MILLIS(5), Reply::Status(200)); 25]);
        for _ in 0..25 {
            let service = layer.layer(warm.clone());
            service.oneshot(get()).await.unwrap();
        }
        let full = left(&layer.budgets());
        let slow = Slow::new([(MILLIS(first), Reply::Status(status))]);
        let service = layer.layer(guarded(&slow, 1, MILLIS(after_time)));
        assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
        // The second attempt is the retry.
        let retries = slow.count() as i64 - 1;
        assert_eq!(retries, i64::from(status == 503));
        assert_eq!(left(&layer.budgets()), full - retries, "{first} {status}");
        // The share has its hedge back: twenty calls for another one have not passed.
        let next = Slow::hanging(1);
        let response = layer.layer(next.clone()).oneshot(get()).await.unwrap();
        assert_eq!(refusal(response.body().timeline()), None);
        assert_eq!(next.count(), 2, "{first} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_hedge_is_not_an_attempt() {
    let slow = Slow::new([(MILLIS(200), Reply::Status(503))]);
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECS(10)).unwrap())
        .layer(RetryLayer::new(steady()).unwrap())
        .layer(HedgeLayer::new(after(MILLIS(100))).unwrap())
        .service(guarded(&slow, 1, Duration::ZERO));
    let mut request = get();
    request.extensions_mut().insert(Options::new().attempts(2));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(slow.count(), 2);
    assert_eq!(response.body().timeline().attempt_count(), 2);
}

/// A rejection below a layer of hedges reaches the retry as if that layer were not there.
#[tokio::test(start_paused = true)]
async fn rejection_below_the_hedges_costs_no_token_and_hides_no_response() {
    let mut seen = Vec::new();
    for is_hedged in [false, true] {
        let slow = Slow::new(vec![(MILLIS(5), Reply::Status(500)); 5]);
        let breaker = CircuitBreakerConfig::new().min_attempts(5);
        let breaker = CircuitBreakerLayer::from_config(Timeouts::new(SECS(10)).unwrap(), breaker);
        let breaker = breaker.unwrap();
        let guarded = breaker.layer(slow.clone());
        for _ in 0..4 {
            guarded.clone().oneshot(get()).await.unwrap();
        }
        let retry = RetryLayer::new(steady()).unwrap();
        let budgets = retry.budgets();
        let hedge = HedgeLayer::new(after(MILLIS(100))).unwrap();
        let hedge = hedge.share_budgets(&budgets);
        let hedged: Guarded = match is_hedged {
            true => BoxCloneSyncService::new(
                hedge
                    .layer(guarded)
                    .map_response(emptied)
                    .map_err(BoxError::from),
            ),
            false => {
                BoxCloneSyncService::new(guarded.map_response(emptied).map_err(BoxError::from))
            }
        };
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(SECS(10)).unwrap())
            .layer(retry)
            .service(hedged);
        // The first attempt opens the circuit, which rejects the retry.
        let response = service.clone().oneshot(get()).await.unwrap();
        assert_eq!((response.status().as_u16(), slow.count()), (500, 5));
        let after_response = left(&budgets);
        // The next call is rejected at once.
        service.oneshot(get()).await.map(drop).unwrap_err();
        seen.push((after_response, left(&budgets)));
    }
    assert_eq!(seen[0], seen[1]);
}
