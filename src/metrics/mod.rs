//! Metrics of calls: recorded at their end, and gauges read at collection.

mod gauges;
mod instruments;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{Method, Uri};
use opentelemetry::{KeyValue, global};

pub(crate) use self::gauges::{Gauges, Look};
use self::instruments::Instruments;
use crate::call::CallTarget;
use crate::destination::Destination;
use crate::hop::{Diagnosis, Hop, Outcome, Policy, Stage, TimelineEventKind};
use crate::telemetry::values;
use crate::timeline::{Attempt, StageOutcome, Timeline};

/// Metrics of calls. They use OpenTelemetry's names where the conventions define one, else names under `sevenhops.`.
/// The table is in [`telemetry`](crate::telemetry).
///
/// Cheap to clone. Create one, and give it to every client, stack and operation. It uses the meter provider that is
/// installed at its creation, and ignores one that is installed later.
///
/// The attributes are bounded: destination and route, never a path or a value. If redirects lead to many destinations,
/// the SDK's own bound on a metric's series holds (2,000 by default).
///
/// Durations and counts are recorded at the end of a call. Gauges are read at collection, so an old state leaves no
/// series behind. Two clients of a process may use the same destination. The gauges then show the worse state, the
/// smaller budget, and the sums of the connections, limits and windows. Open connections are counted on Linux only.
#[derive(Clone)]
pub struct Metrics {
    instruments: Arc<Instruments>,
    gauges: Arc<Gauges>,
}

/// The gauges of the whole process. If two instruments observe one series, the SDK keeps only the later one.
static GAUGES: LazyLock<Arc<Gauges>> = LazyLock::new(Arc::default);

impl Metrics {
    /// Returns metrics of the global meter provider.
    #[must_use]
    pub fn global() -> Self {
        let meter = global::meter("sevenhops");
        let gauges = Arc::clone(&GAUGES);
        gauges.observe(&meter);
        Self {
            instruments: Arc::new(Instruments::of(&meter)),
            gauges,
        }
    }

    pub(crate) fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Returns whether both count with the same instruments.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.instruments, &other.instruments)
    }

    /// Counts an event of a circuit.
    pub(crate) fn count_circuit(&self, destination: &Destination, event: &'static str) {
        let about = [
            name(destination),
            KeyValue::new("sevenhops.breaker.event", event),
        ];
        self.instruments.breaker_events.add(1, &about);
    }

    /// Records a call that has ended: see [`DeadlineLayer::on_complete`](crate::DeadlineLayer::on_complete).
    pub fn record(&self, timeline: &Timeline) {
        let call = &timeline.0;
        let to = MetricTarget {
            asked: call.asked(),
            method: call.asked().method(),
            uri: call.asked().uri(),
            route: call.route(),
        };
        let attempts = timeline.attempts();
        // The calls inside an operation record themselves.
        if call.asked().uri().is_some() {
            for attempt in &attempts {
                self.attempt(&to, attempt);
            }
        }
        for (before, next) in attempts.iter().zip(attempts.iter().skip(1)) {
            // A hedge does not follow a failure.
            if let Some(failed) = error_type(&before.outcome).filter(|_| !next.is_hedge) {
                self.instruments.retries.add(1, &to.and([failed]));
            }
        }
        for hedge in attempts.iter().filter(|attempt| attempt.is_hedge) {
            let outcome = match hedge.is_lost {
                true => "lost",
                false => hedge.outcome.end(),
            };
            let outcome = KeyValue::new("sevenhops.outcome", outcome);
            self.instruments.hedges.add(1, &to.and([outcome]));
        }
        for note in timeline.events() {
            self.note(&to, &note.kind);
        }
        self.call(&to, timeline);
    }

    fn note(&self, to: &MetricTarget<'_>, what: &TimelineEventKind) {
        let instruments = &self.instruments;
        let of = |policy: Policy| to.and([KeyValue::new("sevenhops.policy", policy.as_str())]);
        match what {
            TimelineEventKind::Rejected(policy) => instruments.rejections.add(1, &of(*policy)),
            TimelineEventKind::Queued { policy, wait } => {
                instruments
                    .policy_wait
                    .record(wait.as_secs_f64(), &of(*policy));
            }
            TimelineEventKind::NotHedged(reason) => {
                let reason = KeyValue::new("sevenhops.no_retry_reason", reason.as_str());
                instruments.not_hedged.add(1, &to.and([reason]));
            }
            TimelineEventKind::Stale { age, instead_of } => {
                let mut all = to.all();
                all.extend(instead_of.as_ref().and_then(error_type));
                instruments.stale_age.record(age.as_secs_f64(), &all);
            }
            TimelineEventKind::Fallback { instead_of } => {
                let mut all = to.all();
                all.extend(error_type(instead_of));
                instruments.fallbacks.add(1, &all);
            }
            TimelineEventKind::Waited { .. }
            | TimelineEventKind::Hedged { .. }
            | TimelineEventKind::Redirected { .. }
            | TimelineEventKind::FailedOver { .. }
            | TimelineEventKind::Replayed
            | TimelineEventKind::CallerRetry { .. }
            | TimelineEventKind::LocalShare
            | TimelineEventKind::Chaos { .. } => {}
        }
    }

    fn call(&self, to: &MetricTarget<'_>, timeline: &Timeline) {
        let instruments = &self.instruments;
        let made = u64::from(timeline.attempt_count());
        instruments.attempts.record(made, &to.all());
        let mut all = to.all();
        let outcome = timeline.outcome().unwrap_or(Outcome::Cancelled);
        all.extend(failed_by(&outcome));
        all.push(KeyValue::new("sevenhops.outcome", outcome.end()));
        instruments
            .call
            .record(timeline.elapsed().as_secs_f64(), &all);
        // A substitute hides the failure from the caller, not from these counters.
        let failed = match outcome {
            Outcome::Failed { .. } => Some(outcome),
            _ => replaced(timeline),
        };
        let Some(failed) = failed else { return };
        let mut all = to.all();
        all.extend(failed_by(&failed));
        if timeline.effect().is_possible() {
            instruments.effect_possible.add(1, &all);
        }
        if let Some(reason) = timeline.no_retry_reason() {
            let reason = KeyValue::new("sevenhops.no_retry_reason", reason.as_str());
            instruments.no_retry_reason.add(1, &to.and([reason]));
        }
    }

    fn attempt(&self, to: &MetricTarget<'_>, attempt: &Attempt) {
        let instruments = &self.instruments;
        let led: Option<Uri> = attempt.url.as_ref().and_then(|url| url.parse().ok());
        let to = &MetricTarget {
            method: attempt.method.as_ref().or(to.method),
            uri: led.as_ref().or(to.uri),
            // The route belongs to the call's own URL, whichever endpoint it goes to.
            route: to.route.filter(|_| !attempt.is_redirected),
            ..*to
        };
        let failed = error_type(&attempt.outcome);
        let mut all = to.all();
        all.extend(failed);
        let status = attempt.status.map(|status| i64::from(status.as_u16()));
        all.extend(status.map(|status| KeyValue::new("http.response.status_code", status)));
        all.extend(
            attempt
                .version
                .map(|v| KeyValue::new("network.protocol.version", values::version(v))),
        );
        instruments
            .request
            .record(attempt.duration.as_secs_f64(), &all);
        if attempt.dns_stale {
            instruments.stale.add(1, &to.server());
        }
        if let Some(waited) = attempt.time_in_queue() {
            let seconds = waited.as_secs_f64();
            instruments.time_in_queue.record(seconds, &to.server());
        }
        self.rows(to, attempt);
    }

    fn rows(&self, to: &MetricTarget<'_>, attempt: &Attempt) {
        let instruments = &self.instruments;
        let mut setup = None;
        for row in &attempt.stages {
            let kind = match row.end {
                // It waited for a connection, and made none.
                StageOutcome::Completed if row.queued => continue,
                StageOutcome::Completed => None,
                StageOutcome::Failed(kind) => Some(KeyValue::new("sevenhops.kind", kind.as_str())),
                StageOutcome::InProgress | StageOutcome::Abandoned => {
                    // A connection whose TLS handshake did not finish was never usable.
                    setup = setup.filter(|_| row.stage != Stage::Tls);
                    continue;
                }
            };
            let seconds = row.duration.as_secs_f64();
            let mut about = to.server();
            about.extend(kind.clone());
            let remembered = attempt.dns_remembered && kind.is_some();
            if row.stage == Stage::Dns && !remembered {
                // Through a proxy, this lookup is for the proxy's name.
                let via: Option<Uri> = attempt.via.as_ref().and_then(|via| via.parse().ok());
                let name = via.as_ref().or(to.uri).and_then(values::host);
                let name = name.unwrap_or_default().into_owned();
                let mut about = vec![KeyValue::new("dns.question.name", name)];
                if let StageOutcome::Failed(kind) = row.end {
                    let failed = Diagnosis::unsent(Hop::Dns, kind).error_type();
                    about.push(KeyValue::new("error.type", failed.into_owned()));
                }
                instruments.lookup.record(seconds, &about);
            }
            setup = match (row.stage, row.end, setup) {
                (Stage::Connect, StageOutcome::Completed, _) => Some(row.duration),
                (Stage::Tls, StageOutcome::Completed, Some(connect)) => {
                    Some(connect + row.duration)
                }
                (Stage::Connect | Stage::Tls, ..) => None,
                (_, _, before) => before,
            };
            about.push(KeyValue::new("sevenhops.stage", row.stage.as_str()));
            instruments.hop.record(seconds, &about);
        }
        if let Some(took) = setup {
            let took: Duration = took;
            instruments.setup.record(took.as_secs_f64(), &to.server());
        }
    }
}

/// The destination of a request or an operation, with the facts that a metric may show.
#[derive(Clone, Copy)]
struct MetricTarget<'c> {
    asked: &'c CallTarget,
    route: Option<&'c str>,
    /// The method of the call, or of the redirect's target.
    method: Option<&'c Method>,
    uri: Option<&'c Uri>,
}

impl MetricTarget<'_> {
    fn server(&self) -> Vec<KeyValue> {
        match (self.asked, self.uri) {
            (_, Some(uri)) => server(uri),
            (CallTarget::Operation { destination, .. }, None) => vec![name(destination)],
            (CallTarget::Request { .. }, None) => Vec::new(),
        }
    }

    fn all(&self) -> Vec<KeyValue> {
        let mut all = self.server();
        let method = self.method.map(values::method);
        all.extend(method.map(|method| KeyValue::new("http.request.method", method)));
        let scheme = self.uri.and_then(Uri::scheme_str);
        let scheme = scheme.map(str::to_ascii_lowercase);
        all.extend(scheme.map(|scheme| KeyValue::new("url.scheme", scheme)));
        let route = self.route.map(str::to_owned);
        all.extend(route.map(|route| KeyValue::new("url.template", route)));
        all
    }

    fn and<const N: usize>(&self, more: [KeyValue; N]) -> Vec<KeyValue> {
        let mut all = self.all();
        all.extend(more);
        all
    }
}

/// A destination may have a custom name, so the whole name is shown.
fn name(destination: &Destination) -> KeyValue {
    KeyValue::new("sevenhops.destination", destination.to_string())
}

fn server(uri: &Uri) -> Vec<KeyValue> {
    let mut server = Vec::with_capacity(8);
    let host = values::host(uri).map(Cow::into_owned);
    server.extend(host.map(|host| KeyValue::new("server.address", host)));
    let port = values::port(uri);
    server.extend(port.map(|port| KeyValue::new("server.port", port)));
    server
}

/// Returns the failure of the call that a substitute stands in for.
fn replaced(timeline: &Timeline) -> Option<Outcome> {
    let mut latest_first = timeline.events().into_iter().rev();
    latest_first.find_map(|event| match event.kind {
        TimelineEventKind::Stale { instead_of, .. } => instead_of,
        TimelineEventKind::Fallback { instead_of } => Some(instead_of),
        _ => None,
    })
}

/// Returns the error type and the hop of a failure.
fn failed_by(outcome: &Outcome) -> impl Iterator<Item = KeyValue> {
    let hop = match outcome {
        Outcome::Failed { hop, .. } => *hop,
        _ => None,
    };
    let hop = hop.map(|hop| KeyValue::new("sevenhops.hop", hop.as_str()));
    error_type(outcome).into_iter().chain(hop)
}

fn error_type(outcome: &Outcome) -> Option<KeyValue> {
    let failed = outcome.error_type()?;
    Some(KeyValue::new("error.type", failed))
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
