//! Tests the server's hints on when to retry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use http::Method;
use sevenhops::{
    CircuitBreakerConfig, RetryConfig, StandardLayer,
    hop::{NoRetryReason, TimelineEventKind},
};

use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::mock::{Mock, Step, request, status, steady, with};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

fn layer(deadline: Duration, retry: RetryConfig) -> StandardLayer {
    StandardLayer::from_config(&sevenhops::Config::new(deadline).retry(retry)).unwrap()
}

/// Calls a service that responds with these steps. Returns the status, the waits between the requests, and why the call
/// was not retried.
async fn ask(
    layer: &StandardLayer,
    steps: impl IntoIterator<Item = Step>,
) -> (u16, Vec<Duration>, Option<NoRetryReason>) {
    let mock = Mock::new(steps);
    let response = layer.layer(mock.clone()).oneshot(request(Method::GET));
    let response = response.await.unwrap();
    let reason = response.body().timeline().no_retry_reason();
    (response.status().as_u16(), mock.waits(), reason)
}

fn too_long(hint: Duration, most: Duration) -> Option<NoRetryReason> {
    Some(NoRetryReason::HintTooLong { hint, most })
}

#[tokio::test(start_paused = true)]
async fn hint_above_the_maximum_ends_the_call_immediately() {
    let day = SECS(86_400);
    for (deadline, retry, hint, most) in [
        (day, steady(), SECS(3_600), SECS(60)),
        (day, steady(), SECS(61), SECS(60)),
        (SECS(10), steady(), SECS(6), SECS(5)),
        (SECS(10), steady().max_hint(SECS(2)), SECS(3), SECS(2)),
    ] {
        let begun = Instant::now();
        let steps = [with(429, "retry-after", &hint.as_secs().to_string())];
        let asked = ask(&layer(deadline, retry), steps).await;
        assert_eq!(asked, (429, vec![], too_long(hint, most)));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn hint_below_the_maximum_is_waited_for_with_little_jitter() {
    for (deadline, hint, most) in [
        (SECS(10), SECS(5), MS(5_500)),
        (SECS(86_400), SECS(60), SECS(65)),
    ] {
        let steps = [with(503, "retry-after", &hint.as_secs().to_string())];
        let (status, waits, _) = ask(&layer(deadline, RetryConfig::new()), steps).await;
        assert_eq!(status, 200);
        assert!((hint..=most + MS(1)).contains(&waits[0]), "{waits:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a date is wall time")]
#[tokio::test(start_paused = true)]
async fn date_by_a_clock_that_is_a_minute_ahead_is_two_seconds_away() {
    let theirs = SystemTime::now() + SECS(60);
    let date = httpdate::fmt_http_date;
    let headers = vec![
        ("date", date(theirs)),
        ("retry-after", date(theirs + SECS(2))),
    ];
    let steps = [Step::Answer(503, headers, bytes::Bytes::new())];
    let (_, waits, _) = ask(&layer(SECS(600), steady()), steps).await;
    assert!((SECS(2)..=MS(2_202)).contains(&waits[0]), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn milliseconds_are_waited_for() {
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        let steps = [with(429, name, "1500")];
        let (status, waits, _) = ask(&layer(SECS(10), steady()), steps).await;
        assert_eq!(status, 200);
        assert!((MS(1_500)..=MS(1_652)).contains(&waits[0]), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hint_function_reads_a_service_specific_header() {
    let layer = layer(SECS(10), steady()).hint(|head| {
        let seconds = head.headers().get("x-backoff")?.to_str().ok()?;
        Some(SECS(seconds.parse().ok()?))
    });
    let (_, waits, _) = ask(&layer, [with(503, "x-backoff", "2")]).await;
    assert!((SECS(2)..=MS(2_202)).contains(&waits[0]), "{waits:?}");
    let asked = ask(&layer, [with(503, "x-backoff", "7")]).await;
    assert_eq!(asked, (503, vec![], too_long(SECS(7), SECS(5))));
    let (_, waits, _) = ask(&layer, [with(503, "retry-after", "3")]).await;
    assert!((SECS(3)..=MS(3_303)).contains(&waits[0]), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn throttling_without_a_hint_waits_within_the_deadline() {
    for (deadline, wait) in [(SECS(10), SECS(1)), (SECS(2), MS(400)), (SECS(1), MS(200))] {
        let (_, waits, _) = ask(&layer(deadline, steady()), [status(429)]).await;
        assert_eq!(waits, [wait], "{deadline:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_that_exceeds_the_deadline_is_drawn_again() {
    use sevenhops::policy::retry::Backoff;
    // Most draws are longer than half of the time, but each call is retried.
    let wide = Backoff::new().base(SECS(2)).cap(SECS(600));
    let settings = sevenhops::Config::new(SECS(2)).retry(RetryConfig::new().backoff(wide));
    let settings = settings.circuit_breaker(CircuitBreakerConfig::new().min_attempts(1_000));
    let layer = StandardLayer::from_config(&settings).unwrap();
    for _ in 0..50 {
        let mock = Mock::new([status(503)]);
        let response = layer.layer(mock.clone()).oneshot(request(Method::GET));
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(mock.waits()[0] <= SECS(1), "{:?}", mock.waits());
        let notes = response.body().timeline().events();
        assert!(matches!(
            notes[0].kind,
            TimelineEventKind::Waited { hinted: false, .. }
        ));
    }
}

/// Counts the warnings of this crate.
struct Warnings(Arc<AtomicU32>);

impl<S: Subscriber> tracing_subscriber::Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _cx: Context<'_, S>) {
        let from = event.metadata();
        if *from.level() == Level::WARN && from.target().starts_with("sevenhops") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hint_that_cannot_be_read_is_ignored_with_one_warning() {
    let warnings = Arc::new(AtomicU32::new(0));
    let counting = tracing_subscriber::registry().with(Warnings(Arc::clone(&warnings)));
    let _listening = crate::listen::listen(counting);
    for (name, bad, good) in [
        ("retry-after", "soon", "0"),
        ("retry-after", "-1", "0"),
        ("retry-after-ms", "1e3", "0"),
        ("x-ms-retry-after-ms", "", "0"),
        ("ratelimit", "\"a\";r=0;t", "\"a\";r=0;t=0"),
        ("ratelimit", "\"a\";;", "\"a\";r=9;t=9"),
    ] {
        for value in [good, bad, bad] {
            let steps = [with(503, name, value)];
            let asked = ask(&layer(SECS(10), steady()), steps).await;
            assert_eq!((asked.0, asked.1.len()), (200, 1), "{name}: {value}");
        }
    }
    assert_eq!(warnings.load(Ordering::Relaxed), 4);
}
