//! Tests which calls are not hedged, and that the timeline says why.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use sevenhops::hop::FailureClass;
use sevenhops::{
    CircuitBreakerConfig, Config, DeadlineLayer, HedgeLayer, IdempotencyConfig, Options,
    RetryLayer, StandardLayer, Timeline,
};

use tower::{Layer, ServiceBuilder, ServiceExt};

use super::service::{MILLIS, Reply, SECS, Slow, after, events, get, refusal, request, steady};

fn config() -> Config {
    Config::new(SECS(10))
        .hedge(after(MILLIS(100)))
        .retry(steady())
}

/// Makes a call whose first attempt takes a second. Returns the number of requests.
async fn call(config: &Config, request: Request<Full<Bytes>>) -> (usize, Timeline) {
    let slow = Slow::new([(SECS(1), Reply::Status(200))]);
    let service = StandardLayer::from_config(config)
        .unwrap()
        .layer(slow.clone());
    let response = service.oneshot(request).await.unwrap();
    let timeline = response.body().timeline().clone();
    response.into_body().collect().await.unwrap();
    (slow.count(), timeline)
}

fn with(method: Method, options: Options) -> Request<Full<Bytes>> {
    let mut request = request(method);
    request.extensions_mut().insert(options);
    request
}

#[tokio::test(start_paused = true)]
async fn post_without_an_honored_key_is_never_hedged() {
    let (sent, timeline) = call(&config(), request(Method::POST)).await;
    assert_eq!(sent, 1);
    let reason = "not hedged: POST, and the destination is not known to honor idempotency keys";
    assert_eq!(events(&timeline), [reason]);
    let no_keys = IdempotencyConfig::new().generate_keys(false);
    let (sent, timeline) = call(&config().idempotency(no_keys), request(Method::POST)).await;
    assert_eq!(sent, 1);
    assert_eq!(
        events(&timeline),
        ["not hedged: POST without an idempotency key"]
    );
    let honored = IdempotencyConfig::new().honored_by_all(true);
    let (sent, _) = call(&config().idempotency(honored), request(Method::POST)).await;
    assert_eq!(sent, 2);
}

#[tokio::test(start_paused = true)]
async fn put_is_idempotent_and_still_not_hedged() {
    for method in [Method::PUT, Method::DELETE] {
        let no_keys = IdempotencyConfig::new().generate_keys(false);
        let (sent, timeline) = call(&config().idempotency(no_keys), request(method)).await;
        assert_eq!((sent, refusal(&timeline)), (1, Some("not_idempotent")));
    }
    let read = with(Method::POST, Options::new().idempotent(true));
    assert_eq!(call(&config(), read).await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn call_without_retries_is_not_hedged() {
    let never = with(Method::GET, Options::new().retry(false));
    let (sent, timeline) = call(&config(), never).await;
    assert_eq!((sent, refusal(&timeline)), (1, Some("disabled")));
    let once = with(Method::GET, Options::new().attempts(1));
    let (sent, timeline) = call(&config(), once).await;
    assert_eq!((sent, refusal(&timeline)), (1, Some("attempts_exhausted")));
}

#[tokio::test(start_paused = true)]
async fn stack_without_a_config_of_hedges_sends_none() {
    let (sent, timeline) = call(&Config::new(SECS(10)), get()).await;
    assert_eq!((sent, timeline.events().len()), (1, 0));
    let off = Config::new(SECS(10)).hedge(after(MILLIS(100)).enabled(false));
    assert_eq!(call(&off, get()).await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn destination_that_throttled_a_call_gets_no_hedge_of_the_next_one() {
    let slow = Slow::new([
        (MILLIS(5), Reply::Later(429, 3)),
        (SECS(1), Reply::Status(200)),
    ]);
    let layer = HedgeLayer::new(after(MILLIS(100))).unwrap();
    let throttled = layer.layer(slow.clone()).oneshot(get()).await.unwrap();
    assert_eq!(throttled.status(), 429);
    let response = layer.layer(slow.clone()).oneshot(get()).await.unwrap();
    assert_eq!(refusal(response.body().timeline()), Some("throttled"));
    tokio::time::sleep(SECS(3)).await;
    slow.add(SECS(1), Reply::Status(200));
    layer.layer(slow.clone()).oneshot(get()).await.unwrap();
    assert_eq!(slow.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_response_stops_the_hedges_of_a_destination_for_a_minute_at_most() {
    let slow = Slow::new([(MILLIS(5), Reply::Later(429, 99_999_999))]);
    let layer = HedgeLayer::new(after(MILLIS(100))).unwrap();
    layer.layer(slow.clone()).oneshot(get()).await.unwrap();
    for (seconds, expected) in [(58, Some("throttled")), (2, None)] {
        tokio::time::sleep(SECS(seconds)).await;
        slow.add(SECS(1), Reply::Status(200));
        let response = layer.layer(slow.clone()).oneshot(get()).await.unwrap();
        assert_eq!(refusal(response.body().timeline()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn classifier_says_whether_the_destination_asks_for_fewer_requests() {
    // The requests of the next call: after a response with a hint, and after one without it.
    for (status, class, hinted, plain) in [
        (400, FailureClass::Throttled, 1, 1),
        (400, FailureClass::Permanent, 1, 2),
        (429, FailureClass::Success, 2, 2),
        (429, FailureClass::Ignore, 2, 2),
        (429, FailureClass::Permanent, 1, 1),
    ] {
        for (reply, expected) in [
            (Reply::Later(status, 3), hinted),
            (Reply::Status(status), plain),
        ] {
            let slow = Slow::new([(MILLIS(5), reply), (SECS(1), Reply::Status(200))]);
            let layer = HedgeLayer::new(after(MILLIS(100))).unwrap();
            let layer = layer.classify(move |_| Some(class));
            let first = layer.layer(slow.clone()).oneshot(get()).await.unwrap();
            assert_eq!(first.status(), status);
            layer.layer(slow.clone()).oneshot(get()).await.unwrap();
            assert_eq!(slow.count() - 1, expected, "{status} {class:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn probe_of_a_half_open_circuit_is_not_hedged() {
    let slow = Slow::new((0..20).map(|_| (MILLIS(5), Reply::Status(500))));
    let breaker = CircuitBreakerConfig::new()
        .min_attempts(5)
        .break_duration(SECS(1));
    let config = config()
        .circuit_breaker(breaker)
        .retry(steady().attempts(2));
    let service = StandardLayer::from_config(&config)
        .unwrap()
        .layer(slow.clone());
    while service.clone().oneshot(get()).await.is_ok() {}
    tokio::time::sleep(SECS(2)).await;
    slow.clear();
    slow.add(SECS(1), Reply::Status(200));
    let before = slow.count();
    let response = service.oneshot(get()).await.unwrap();
    assert_eq!(refusal(response.body().timeline()), Some("half_open"));
    assert_eq!(slow.count(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn hedge_is_not_the_probe_of_a_circuit_that_opened_meanwhile() {
    let slow = Slow::new([(SECS(25), Reply::Status(200))]);
    for _ in 0..20 {
        slow.add(MILLIS(5), Reply::Status(500));
    }
    let breaker = CircuitBreakerConfig::new()
        .min_attempts(5)
        .break_duration(SECS(1));
    let config = Config::new(SECS(60))
        .hedge(after(SECS(10)))
        .circuit_breaker(breaker)
        .retry(steady().attempts(2));
    let service = StandardLayer::from_config(&config)
        .unwrap()
        .layer(slow.clone());
    let first = tokio::spawn(service.clone().oneshot(get()));
    tokio::time::sleep(MILLIS(10)).await;
    while service.clone().oneshot(get()).await.is_ok() {}
    slow.clear();
    let before = slow.count();
    tokio::time::sleep(SECS(10)).await;
    assert_eq!(slow.count(), before, "no hedge");
    // The place of the probe is free.
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    let response = first.await.unwrap().unwrap();
    assert_eq!(refusal(response.body().timeline()), Some("half_open"));
    assert_eq!(slow.count(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn attempts_of_separate_layers_count_the_hedges() {
    for attempts in 2..=4 {
        let slow = Slow::new(vec![(MILLIS(200), Reply::Status(503)); 9]);
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(SECS(60)).unwrap())
            .layer(RetryLayer::new(steady()).unwrap())
            .layer(HedgeLayer::new(after(MILLIS(100))).unwrap())
            .service(slow.clone());
        let request = with(Method::GET, Options::new().attempts(attempts));
        assert_eq!(service.oneshot(request).await.unwrap().status(), 503);
        assert_eq!(slow.count(), attempts as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn stacks_inside_one_another_do_not_multiply_hedges() {
    let slow = Slow::hanging(1);
    let layer = || HedgeLayer::new(after(MILLIS(100))).unwrap();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECS(10)).unwrap())
        .layer(layer())
        .layer(layer())
        .service(slow.clone());
    let response = service.oneshot(get()).await.unwrap();
    assert_eq!(slow.count(), 2);
    let events = events(response.body().timeline());
    assert!(
        events.contains(&"not hedged: the caller retries or hedges".to_owned()),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn layer_below_a_retry_hedges_each_attempt_out_of_the_same_budget() {
    let slow = Slow::new([
        (SECS(1), Reply::Status(503)),
        (MILLIS(50), Reply::Status(503)),
    ]);
    slow.add(SECS(1), Reply::Status(200));
    let retry = RetryLayer::new(steady()).unwrap();
    let budgets = retry.budgets();
    let hedge = HedgeLayer::new(after(MILLIS(100))).unwrap();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECS(10)).unwrap())
        .layer(retry)
        .layer(hedge.share_budgets(&budgets))
        .service(slow.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(slow.count(), 4);
    assert_eq!(slow.in_flight(), 0);
}
