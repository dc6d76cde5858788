//! Tests that every form of a timeline shows the injected fault.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use sevenhops::chaos::{Fault, Latency};
use sevenhops::hop::TimelineEventKind;
use tower::{Layer as _, ServiceExt};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};

use super::faults::{once, quiet, stack};
use crate::mock::{Mock, request, status, steady};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn injected_fault_is_marked_everywhere() {
    let (error, _) = once(Method::POST, Fault::DropResponse).await;
    let timeline = error.timeline().unwrap();
    let [note] = &timeline.events()[..] else {
        panic!("{timeline}")
    };
    let lost = TimelineEventKind::Chaos {
        fault: Fault::DropResponse,
        delay: None,
    };
    assert_eq!((note.attempts, &note.kind), (1, &lost));
    let drawn = timeline.to_string();
    assert!(
        drawn.contains("  chaos: response lost, on purpose\n"),
        "{drawn}"
    );
    let cause = error.source().unwrap().to_string();
    assert_eq!(cause, "chaos: response lost, on purpose");
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn injected_fault_is_an_event_of_the_timeline() {
    let delay = Fault::Delay(Latency::between(MINUTE, MINUTE));
    for (fault, written) in [
        (
            Fault::DropResponse,
            serde_json::json!({"attempts": 1, "at_us": 0, "kind": "chaos", "fault": "drop_response"}),
        ),
        (
            delay,
            serde_json::json!({
                "attempts": 1, "at_us": 0, "kind": "chaos", "fault": "delay", "delay_us": 60_000_000,
            }),
        ),
    ] {
        let (error, _) = once(Method::POST, fault).await;
        let notes = serde_json::to_value(error.timeline().unwrap()).unwrap();
        assert_eq!(notes["events"], serde_json::json!([written]));
    }
}

#[cfg(feature = "har")]
#[tokio::test(start_paused = true)]
async fn archive_names_the_attempt_with_the_fault() {
    let (chaos, mock) = (quiet(), Mock::new([status(200), status(503)]));
    chaos.enqueue([Fault::DropResponse]).unwrap();
    let service = stack(steady(), &chaos, &mock);
    let response = service.oneshot(request(Method::PUT)).await.unwrap();
    let har = serde_json::to_value(response.body().timeline().to_har()).unwrap();
    let said = [0, 1, 2].map(|at| har["log"]["entries"][at]["_chaos"].as_str());
    assert_eq!(said, [Some("drop_response"), None, None]);
}

/// Counts the warnings with the message "chaos".
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Visit for &Warnings {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" && format!("{value:?}") == "chaos" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _cx: Context<'_, S>) {
        if *event.metadata().level() == Level::WARN {
            event.record(&mut &*self);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fault_without_a_call_emits_an_event() {
    let warnings = Warnings::default();
    let subscriber = tracing_subscriber::registry().with(warnings.clone());
    let _guard = crate::listen::listen(subscriber);
    let chaos = quiet();
    chaos.enqueue([Fault::RefuseConnect]).unwrap();
    let alone = chaos.layer(Mock::default());
    alone.oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
    once(Method::POST, Fault::Silence).await;
    assert_eq!(warnings.0.load(Ordering::Relaxed), 2);
}
