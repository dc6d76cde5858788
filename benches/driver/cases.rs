//! The stacks whose time and allocations `call` measures, and whose instructions `instructions` counts.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sevenhops::{
    AttemptLayer, CircuitBreakerLayer, DeadlineLayer, IdempotencyLayer, RedirectConfig,
    RedirectLayer, RetryConfig, RetryLayer, StandardLayer, Timeouts,
};

use tower::Layer;
use tower::timeout::TimeoutLayer;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::driver::{DEADLINE, Leaf, Ruler};
use crate::rival;

/// Runs the cases, in the order of the report.
pub(crate) fn each_case(ruler: &mut impl Ruler) {
    let timeouts = Timeouts::new(DEADLINE).expect("ten seconds are a deadline");
    let call = DeadlineLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let attempt = AttemptLayer::new(timeouts);
    let standard = StandardLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let redirect = RedirectLayer::new(RedirectConfig::new()).expect("defaults are valid");
    let retry = RetryLayer::new(RetryConfig::new()).expect("defaults are valid");
    let breaker = CircuitBreakerLayer::new(timeouts);
    let idempotency = IdempotencyLayer::default();
    let timeout = TimeoutLayer::new(DEADLINE);
    let mut ask = Request::new(Full::new(Bytes::from_static(b"amount=100")));
    *ask.uri_mut() = http::Uri::from_static("https://api.test/v1/charges");
    for waits in [false, true] {
        let leaf = Leaf { waits };
        let name = |case: &str| format!("{case}{}", if waits { ", waiting" } else { "" });
        ruler.measure(&name("bare leaf"), &ask, leaf);
        ruler.measure(&name("DeadlineLayer"), &ask, call.layer(leaf));
        ruler.measure(&name("AttemptLayer"), &ask, attempt.layer(leaf));
        ruler.measure(&name("RetryLayer"), &ask, retry.layer(leaf));
        ruler.measure(&name("CircuitBreakerLayer"), &ask, breaker.layer(leaf));
        let guarded = retry.layer(breaker.layer(attempt.layer(leaf)));
        let six = call.layer(idempotency.layer(redirect.layer(guarded)));
        ruler.measure(&name("six layers"), &ask, six);
        ruler.measure(&name("StandardLayer"), &ask, standard.layer(leaf));
        ruler.measure(&name("StandardLayer::over"), &ask, standard.over(leaf));
        tracing::subscriber::with_default(Listener::default(), || {
            ruler.measure(&name("StandardLayer, spans on"), &ask, standard.layer(leaf));
        });
        // Otherwise the span sites would keep asking for subscribers.
        tracing::callsite::rebuild_interest_cache();
        ruler.measure(&name("tower timeout"), &ask, timeout.layer(leaf));
        ruler.measure(
            &name("tower-resilience"),
            &ask,
            rival::tower_resilience_stack(leaf),
        );
    }
}

/// A subscriber of everything that only counts.
#[derive(Default)]
struct Listener {
    spans: AtomicU64,
    heard: AtomicU64,
}

impl Listener {
    fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1 + self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        self.hear();
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {
        self.hear();
    }

    fn event(&self, _: &Event<'_>) {
        self.hear();
    }

    fn enter(&self, _: &Id) {
        self.hear();
    }

    fn exit(&self, _: &Id) {
        self.hear();
    }
}
