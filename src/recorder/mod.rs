//! The flight recorder: the last failed and the slowest calls of each destination, in a fixed amount of memory.

mod kept;
mod service;
mod shown;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::kept::{Failure, Gate, KeptCall, KeptCalls};
pub use self::service::RecorderService;
pub use self::shown::RecordedCalls;
use crate::call::{Call, CallTarget, Observer};
use crate::clock::{self, nanos_of};
use crate::destination::Origin;
use crate::registry::{Entry, Registry};
use crate::timeline::Timeline;

/// Keeps the last failed and the slowest calls of each destination, so that they can be read after the fact.
///
/// A [`Client`](crate::Client) has one: [`Client::flight_recorder`](crate::Client::flight_recorder). It is on by
/// default, and [`ClientBuilder::flight_recorder`](crate::ClientBuilder::flight_recorder) turns it off. Cheap to clone;
/// clones share their calls.
///
/// # Example
///
/// ```no_run
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let client = sevenhops::Client::builder(std::time::Duration::from_secs(10)).build()?;
/// let _ = client.get("https://api.test/v1/charges").send().await;
/// if let Some(recorder) = client.flight_recorder() {
///     println!("{recorder}"); // each call as a waterfall, each failure with its explanation
/// }
/// # Ok(()) }
/// ```
///
/// [`service`](Self::service) serves the same text, JSON or HAR in a server of yours.
///
/// # Bounds
///
/// For each of 32 destinations, the timelines of:
///
/// - the last 8 failed calls. A flood of one failure does not remove a rare one: the oldest call with the most common
///   hop and kind goes first. A failing status is a failure, also a 404.
/// - the 4 slowest other calls of the last 15 minutes. An older one stays until a newer call needs its place. Calls
///   that the caller dropped are among them.
///
/// The destination is that of the URL that the caller named. If a failed call needs a place, the least recently used
/// destinations go. A call that did not fail gets only a free place.
///
/// # Cost
///
/// - Memory: the timelines of a destination take at most 32 KiB, and those of all 32 destinations at most 1 MiB. A call
///   with one attempt takes about 2 KB, so 12 calls take about 24 KB. A call that takes more than 32 KiB is not kept.
/// - Time: a fast call that did not fail costs a lookup and two comparisons. It takes no lock of the recorder and
///   allocates nothing.
///
/// # Secrets
///
/// Calls are shown by the rules of a [`Timeline`]: no header value, no query, no userinfo, no body. Paths are shown.
///
/// # How people get it wrong
///
/// They count with it. It is a sample: rates belong to [metrics](crate::telemetry).
#[derive(Clone)]
pub struct FlightRecorder(Arc<Registry<Recorded>>);

/// The calls of one destination.
#[derive(Debug)]
struct Recorded {
    /// The parts of a [`Gate`], so that most calls take no lock. `until` is in nanoseconds since `epoch`.
    took: AtomicU64,
    until: AtomicU64,
    epoch: Instant,
    calls: Mutex<KeptCalls<Timeline>>,
}

impl FlightRecorder {
    /// Creates an empty recorder, for a stack of layers or an operation: call [`record`](Self::record) at the end of
    /// each call.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use sevenhops::StandardLayer;
    /// use sevenhops::recorder::FlightRecorder;
    ///
    /// let recorder = FlightRecorder::new();
    /// let calls = recorder.clone();
    /// let stack = StandardLayer::new(Duration::from_secs(10))?
    ///     .on_complete(move |timeline| calls.record(timeline));
    /// # drop(stack); Ok::<(), sevenhops::ConfigError>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::bounded(MOST_DESTINATIONS, clock::now());
        Self(Arc::new(registry))
    }

    /// Records a call that has ended. It is kept if it failed or is among the slowest.
    pub fn record(&self, timeline: &Timeline) {
        self.end(&timeline.0);
    }

    /// Returns the function that records each call at its end.
    pub(crate) fn observer(&self) -> Observer {
        let recorder = self.clone();
        Arc::new(move |call| recorder.end(call))
    }

    /// Returns the recorded calls of each destination, by the name of the destination.
    #[must_use]
    pub fn destinations(&self) -> Vec<RecordedCalls> {
        let mut all = self.0.each(|destination, recorded| {
            let calls = recorded.calls();
            RecordedCalls {
                destination: destination.clone(),
                failed: calls.failed().cloned().collect(),
                slowest: calls.slowest().cloned().collect(),
            }
        });
        all.sort_by(|one, other| one.destination.as_str().cmp(other.destination.as_str()));
        all
    }

    /// Returns a service that serves the recorded calls: see [`RecorderService`].
    #[must_use]
    pub fn service(&self) -> RecorderService {
        RecorderService::new(self.clone())
    }

    fn end(&self, call: &Call) {
        let ended = call.ended().unwrap_or_else(clock::now);
        let took = ended.saturating_duration_since(call.started());
        let failed = call.failed();
        let failure: Option<Failure> = failed.map(|failed| (failed.hop, failed.kind));
        let origin = match call.asked() {
            CallTarget::Request { uri, .. } => Origin::of_request(uri),
            CallTarget::Operation { destination, .. } => Origin::named(destination),
        };
        let facts = (took, ended, failure);
        let known = self.0.read(&origin, ended, |recorded| {
            if failure.is_some() || recorded.wants(took, ended) {
                recorded.keep(call, facts);
            }
        });
        if known.is_none() && (failure.is_some() || self.0.has_room()) {
            let fresh = Recorded::new(ended);
            let recorded = self.0.get_or_keep(origin.to_destination(), fresh, ended);
            recorded.keep(call, facts);
        }
    }
}

impl Recorded {
    fn new(epoch: Instant) -> Self {
        Self {
            took: AtomicU64::new(0),
            until: AtomicU64::new(u64::MAX),
            epoch,
            calls: Mutex::new(KeptCalls::new()),
        }
    }

    /// Returns whether a call that did not fail may be among the slowest.
    fn wants(&self, took: Duration, ended: Instant) -> bool {
        nanos_of(took) >= self.took.load(Ordering::Relaxed)
            || self.since_epoch(ended) >= self.until.load(Ordering::Relaxed)
    }

    fn keep(&self, call: &Call, (took, ended, failure): (Duration, Instant, Option<Failure>)) {
        // It is computed from the time since the begin, which is wrong after a change of the clock or a suspend.
        call.started_at();
        let kept = KeptCall {
            call: call.timeline(),
            bytes: call.bytes(),
            took,
            ended,
            failure,
        };
        let mut calls = self.calls();
        let gone = calls.keep(kept);
        let Gate { took, until } = calls.gate();
        self.took.store(took, Ordering::Relaxed);
        let until = until.map_or(u64::MAX, |until| self.since_epoch(until));
        self.until.store(until, Ordering::Relaxed);
        drop(calls);
        drop(gone);
    }

    fn since_epoch(&self, at: Instant) -> u64 {
        nanos_of(at.saturating_duration_since(self.epoch))
    }

    fn calls(&self) -> MutexGuard<'_, KeptCalls<Timeline>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never pinned: old calls may always go.
impl Entry for Recorded {}

impl Default for FlightRecorder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FlightRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightRecorder").finish_non_exhaustive()
    }
}

/// The destinations with recorded calls. Together with the bound of each, they take at most 1 MiB.
const MOST_DESTINATIONS: usize = 32;

#[cfg(test)]
mod tests;
