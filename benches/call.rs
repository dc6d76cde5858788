//! What the stack itself costs: one call over a leaf in memory, from the request to the last byte
//! of the response body.
//!
//! First a table of allocations per call, then the time, for the same cases in the same order.
//! `bare leaf` is what every other line contains: the request's clone, the answer, its body.
//!
//! The leaf answers at once, or (`, waiting`) at the second poll: only there do policies need their
//! alarms, and every call over a network is one of those. The driver polls again without being
//! woken, so no line contains the runtime.
//!
//! How people get it wrong: the stacks do different things. The other crates' timeouts end at the
//! response head, ours at the last byte; the tower-resilience stack also retries and breaks
//! circuits, ours also keeps a timeline. The lines are prices, not a race.

mod driver;
mod rival;
#[path = "driver/table.rs"]
mod table;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use http::Request;
use http_body_util::Full;
use sevenhops::limit::Limits;
use sevenhops::{AttemptLayer, CallLayer, StandardLayer};
use tower::Layer;
use tower::timeout::TimeoutLayer;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::driver::{Clock, DEADLINE, Leaf, Ruler};
use crate::table::Table;

fn main() {
    let mut table = Table::new();
    each_case(&mut table);

    // The allocator counts everything it is not told to leave out.
    allocation_counter::opt_out(|| {
        let mut criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(2))
            .sample_size(40)
            .nresamples(20_000)
            .configure_from_args();
        time_each(&mut criterion);
        criterion.final_summary();
    });
}

fn time_each(criterion: &mut Criterion) {
    each_case(&mut Clock::new(criterion, "call"));
}

/// The cases, in the order they are reported.
fn each_case(ruler: &mut impl Ruler) {
    let limits = Limits::new(DEADLINE).expect("ten seconds are a deadline");
    let call = CallLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let attempt = AttemptLayer::new(limits);
    let standard = StandardLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let timeout = TimeoutLayer::new(DEADLINE);
    let mut ask = Request::new(Full::new(Bytes::from_static(b"amount=100")));
    *ask.uri_mut() = http::Uri::from_static("https://api.test/v1/charges");
    for waits in [false, true] {
        let leaf = Leaf { waits };
        let name = |case: &str| format!("{case}{}", if waits { ", waiting" } else { "" });
        ruler.measure(&name("bare leaf"), &ask, leaf);
        ruler.measure(&name("CallLayer"), &ask, call.layer(leaf));
        ruler.measure(&name("AttemptLayer"), &ask, attempt.layer(leaf));
        ruler.measure(&name("StandardLayer"), &ask, standard.layer(leaf));
        ruler.measure(&name("StandardLayer::over"), &ask, standard.over(leaf));
        tracing::subscriber::with_default(Listener::default(), || {
            ruler.measure(&name("StandardLayer, spans on"), &ask, standard.layer(leaf));
        });
        // Otherwise the span sites would go on asking who listens.
        tracing::callsite::rebuild_interest_cache();
        ruler.measure(&name("tower timeout"), &ask, timeout.layer(leaf));
        ruler.measure(
            &name("tower-resilience"),
            &ask,
            rival::tower_resilience_stack(leaf),
        );
    }
}

/// Is interested in everything, and does nothing but count.
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
