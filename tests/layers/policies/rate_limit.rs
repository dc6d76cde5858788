//! Tests the rate limit: its slots, calls that do not wait, and the word of the server.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use http::Method;
use sevenhops::{
    Blame, Config, Destination, DestinationConfig, Effect, Kind, Operation, OperationError,
    Options, Policy, RateLimitLayer, RetryConfig, StandardLayer, hop::TimelineEventKind,
    policy::rate_limit::RateLimitConfig, sdk::operation,
};

use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, optional, request, status, steady, with};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn ten() -> RateLimitConfig {
    RateLimitConfig::new(10)
}

fn stack(config: RateLimitConfig) -> StandardLayer {
    let settings = Config::new(MS(10_000)).retry(steady());
    StandardLayer::from_config(&settings.rate_limit(config)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn burst_is_sent_at_once_and_the_rest_at_the_rate() {
    let (layer, mock, start) = (stack(ten()), Mock::default(), Instant::now());
    for _ in 0..12 {
        let service = layer.layer(mock.clone());
        let response = service.oneshot(request(Method::GET)).await.unwrap();
        let notes = response.body().timeline().events();
        let waits: Vec<_> = notes.iter().map(|note| note.kind.to_string()).collect();
        match mock.count() {
            ..=10 => assert_eq!(waits, [""; 0]),
            _ => assert_eq!(waits, ["waited 100.0 ms for the rate limit"]),
        }
    }
    let at: Vec<_> = mock.asked().iter().map(|asked| asked.at - start).collect();
    assert!(at[..10].iter().all(Duration::is_zero));
    assert_eq!(at[10..], [MS(100), MS(200)]);
}

#[tokio::test(start_paused = true)]
async fn clones_and_tasks_share_one_rate() {
    let (layer, mock, start) = (stack(ten().wait(false)), Mock::default(), Instant::now());
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let (layer, mock) = (layer.clone(), mock.clone());
            tokio::spawn(async move {
                sleep(MS(task)).await;
                while start.elapsed() < MS(10_000) {
                    let _ = layer
                        .layer(mock.clone())
                        .oneshot(request(Method::GET))
                        .await;
                    sleep(MS(20)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(mock.count() <= 10 + 100, "{}", mock.count());
    assert!(mock.count() >= 100, "{}", mock.count());
}

#[tokio::test(start_paused = true)]
async fn wait_that_does_not_fit_the_deadline_is_rejected_at_once() {
    let (layer, mock, start) = (stack(ten().burst(1)), Mock::default(), Instant::now());
    let call = async |options| {
        let service = layer.layer(mock.clone());
        service.oneshot(optional(Method::GET, options)).await
    };
    call(Options::new()).await.unwrap();
    for deadline in [50, 100] {
        let short = Options::new().deadline(Duration::from_millis(deadline));
        let error = call(short).await.unwrap_err();
        assert_eq!(start.elapsed(), MS(0));
        assert_eq!(error.rejected_by(), Some(Policy::RateLimit));
        assert_eq!((error.kind(), error.hop()), (Kind::RateLimit, None));
        assert_eq!(
            (error.effect(), error.blame()),
            (Effect::None, Blame::Client)
        );
        assert_eq!(error.retry_after(), Some(MS(100)));
        let text = error.to_string();
        assert!(
            text.contains(
                " rejected by the rate limit: rate exceeded: the next slot is free in 100.0 ms"
            ),
            "{text}"
        );
    }
    let longer = Options::new().deadline(Duration::from_millis(101));
    assert!(call(longer).await.is_ok());
    assert_eq!(mock.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn call_that_does_not_wait_is_rejected() {
    let layer = RateLimitLayer::new(ten().burst(1).wait(false)).unwrap();
    let call = async || {
        layer
            .layer(Mock::default())
            .oneshot(request(Method::GET))
            .await
    };
    assert!(call().await.is_ok());
    let text = call().await.unwrap_err().to_string();
    let reason = "the next slot is free in 100.0 ms, and the call does not wait";
    assert!(text.contains(reason), "{text}");
    sleep(MS(100)).await;
    assert!(call().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn longest_wait_of_the_config_holds() {
    let layer = RateLimitLayer::new(ten().burst(1).max_wait(MS(150))).unwrap();
    let mock = Mock::default();
    let calls = [(); 3].map(|()| {
        let service = layer.layer(mock.clone());
        tokio::spawn(service.oneshot(request(Method::GET)))
    });
    let mut ended = Vec::new();
    for call in calls {
        ended.push(
            call.await
                .unwrap()
                .map_err(|error| error.retry_after())
                .map(drop),
        );
    }
    assert_eq!(ended, [Ok(()), Ok(()), Err(Some(MS(200)))]);
}

#[tokio::test(start_paused = true)]
async fn retries_need_slots_too() {
    let mock = Mock::new([status(503), status(503)]);
    let config = RateLimitConfig::new(1).per(MS(1_000)).burst(1);
    let response = stack(config)
        .layer(mock.clone())
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    assert_eq!(mock.waits(), [MS(1_000), MS(1_000)]);
    let notes = response.body().timeline().events();
    let waited = |note: &&sevenhops::hop::TimelineEvent| {
        matches!(note.kind, TimelineEventKind::Queued { .. })
    };
    assert_eq!(notes.iter().filter(waited).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn retry_without_a_slot_leaves_the_response_before_it() {
    let mock = Mock::new([status(503)]);
    let layer = stack(ten().burst(1).per(MS(60_000)).wait(false));
    let response = layer
        .layer(mock.clone())
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (503, 1));
    let notes = response.body().timeline().events();
    assert_eq!(
        notes.last().unwrap().kind,
        TimelineEventKind::Rejected(Policy::RateLimit)
    );
}

#[tokio::test(start_paused = true)]
async fn call_that_leaves_gives_its_slot_to_the_next_one() {
    let (layer, mock) = (stack(ten().burst(1)), Mock::default());
    let send = || layer.layer(mock.clone()).oneshot(request(Method::GET));
    send().await.unwrap();
    {
        let mut gone = pin!(send());
        let polled = gone.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    send().await.unwrap();
    assert_eq!(mock.waits(), [MS(100)]);
}

#[tokio::test(start_paused = true)]
async fn server_can_lower_the_limit_if_it_is_asked() {
    for (informed, expected) in [(true, MS(3_000)), (false, MS(0))] {
        let mock = Mock::new([with(200, "ratelimit", "\"default\";r=0;t=3")]);
        let layer = stack(ten().server_informed(informed));
        for _ in 0..2 {
            let service = layer.layer(mock.clone());
            service.oneshot(request(Method::GET)).await.unwrap();
        }
        assert_eq!(mock.waits(), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn destinations_and_groups_have_rates_of_their_own() {
    let even = RateLimitConfig::new(1).wait(false);
    let part = DestinationConfig::new().rate_limit(even.clone());
    let settings = Config::new(MS(10_000)).destination("api.test", part);
    let layer = StandardLayer::from_config(&settings).unwrap();
    let mock = Mock::default();
    let send = async |host: &str| {
        let mut request = request(Method::GET);
        *request.uri_mut() = format!("https://{host}/").parse().unwrap();
        layer.layer(mock.clone()).oneshot(request).await.is_ok()
    };
    assert!(send("api.test").await);
    assert!(!send("api.test").await);
    for _ in 0..3 {
        assert!(send("other.test").await);
    }
    let by_query = RateLimitLayer::new(even).unwrap();
    let by_query = by_query.key_by(|_, uri, _| Some(Destination::named(uri.query()?)));
    let send = async |query: &str| {
        let mut request = request(Method::GET);
        *request.uri_mut() = format!("https://api.test/{query}").parse().unwrap();
        by_query.layer(mock.clone()).oneshot(request).await.is_ok()
    };
    assert!(send("?a").await && send("?b").await && !send("?a").await);
    assert!(send("").await && send("").await, "no name, no limit");
}

#[tokio::test(start_paused = true)]
async fn operation_waits_for_its_slot() {
    let settings = operation::OperationConfig::new(MS(10_000)).rate_limit(ten().burst(1));
    let once = RetryConfig::new().attempts(1);
    let operation = Operation::from_config("orders", settings.retry(once)).unwrap();
    let start = Instant::now();
    for _ in 0..3 {
        operation
            .run(async |_| Ok::<_, OperationError>(()))
            .await
            .unwrap();
    }
    assert_eq!(start.elapsed(), MS(200));
}
