//! A timeline as data (feature `serde`): snake_case fields, in a form that stays compatible.
//!
//! Times are whole microseconds, and their field names say so. Values are the words of the waterfall and the spans.
//! Unknown facts are left out.

use std::time::Duration;

use http::Method;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::Timeline;
use super::attempt::Attempt;
use super::stage::{StageOutcome, StageTiming};
use crate::clock;
use crate::hop::{
    Effect, Hop, Kind, NoRetryReason, Outcome, ProxyStatus, ServerReport, ServerTiming, Stage,
    TimelineEvent, TimelineEventKind,
};
use crate::timeout::TimeoutKind;

/// Serializes the timeline. As JSON:
///
/// ```json
/// {
///   "method": "GET", "url": "https://api.test/v1", "started_at": "2026-01-02T03:04:05.000006Z",
///   "duration_us": 43000, "effect": "done", "outcome": {"end": "responded", "status": 200},
///   "attempts": [{"number": 1, "start_us": 0, "duration_us": 43000, "stages": [], "reused": false,
///     "dns_stale": false, "taken": true, "sent_bytes": 0, "received_bytes": 2,
///     "outcome": {"end": "responded", "status": 200}}],
///   "events": []
/// }
/// ```
///
/// Times are whole microseconds. Unknown facts are left out.
impl Serialize for Timeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::of(serializer)?;
        fields.known("method", self.method().map(Method::as_str))?;
        fields.put("url", self.url())?;
        fields.known("route", self.route())?;
        fields.put("started_at", clock::rfc3339(self.started_at()))?;
        fields.put("duration_us", micros(self.elapsed()))?;
        fields.put("effect", self.effect())?;
        fields.put("outcome", self.outcome().unwrap_or(Outcome::Pending))?;
        fields.put("attempts", self.attempts())?;
        fields.put("events", self.events())?;
        fields.known("no_retry_reason", self.no_retry_reason())?;
        fields.end()
    }
}

impl Serialize for Attempt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::of(serializer)?;
        fields.put("number", self.number)?;
        fields.known("method", self.method.as_ref().map(Method::as_str))?;
        fields.known("url", self.url.as_ref())?;
        fields.put("start_us", micros(self.start))?;
        fields.put("duration_us", micros(self.duration))?;
        fields.put("stages", &self.stages)?;
        fields.known("via", self.via.as_ref())?;
        let socket = self.unix_socket.as_ref();
        fields.known("unix_socket", socket.map(|path| path.display().to_string()))?;
        fields.known("peer", self.peer)?;
        fields.known("local", self.local)?;
        fields.known("affinity_moved", self.affinity_moved.then_some(true))?;
        fields.put("reused", self.reused)?;
        fields.known("connection_age_us", self.connection_age.map(micros))?;
        fields.known("queued", self.queued.then_some(true))?;
        fields.known(
            "version",
            self.version.map(|version| format!("{version:?}")),
        )?;
        fields.known("tls", self.tls)?;
        fields.known("alpn", self.alpn)?;
        fields.known("tls_resumed", self.tls_resumed)?;
        fields.put("dns_stale", self.dns_stale)?;
        fields.known("dns_ttl_us", self.dns.map(|(ttl, _)| micros(ttl)))?;
        fields.known("dns_cached", self.dns.map(|(_, cached)| cached))?;
        fields.put("taken", self.taken)?;
        fields.put("sent_bytes", self.sent_bytes)?;
        fields.put("received_bytes", self.received_bytes)?;
        fields.known("status", self.status.map(|status| status.as_u16()))?;
        fields.known("server_report", self.server_report.as_ref())?;
        fields.known("service_us", self.service_time().map(micros))?;
        fields.known("hedge", self.is_hedge.then_some(true))?;
        fields.known("lost", self.is_lost.then_some(true))?;
        fields.put("outcome", self.outcome)?;
        if !self.calls.is_empty() {
            fields.put("calls", &self.calls)?;
        }
        fields.end()
    }
}

impl Serialize for StageTiming {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (end, kind) = match self.end {
            StageOutcome::InProgress => ("in_progress", None),
            StageOutcome::Completed => ("completed", None),
            StageOutcome::Failed(kind) => ("failed", Some(kind)),
            StageOutcome::Abandoned => ("abandoned", None),
        };
        let mut fields = Fields::of(serializer)?;
        fields.put("stage", self.stage)?;
        fields.known("address", self.address)?;
        fields.known("queued", self.queued.then_some(true))?;
        fields.put("start_us", micros(self.start))?;
        fields.put("duration_us", micros(self.duration))?;
        fields.put("end", end)?;
        fields.known("kind", kind)?;
        fields.end()
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::of(serializer)?;
        fields.put("end", self.end())?;
        match self {
            Self::Pending | Self::Done | Self::Cancelled => {}
            Self::Responded(status) => fields.put("status", status.as_u16())?,
            Self::Failed {
                hop,
                kind,
                effect,
                timeout_kind,
                status,
            } => {
                fields.known("hop", *hop)?;
                fields.put("kind", *kind)?;
                fields.put("effect", *effect)?;
                fields.known("error_type", self.error_type())?;
                fields.known("timeout_kind", timeout_kind.map(TimeoutKind::as_str))?;
                fields.known("status", status.map(|status| status.as_u16()))?;
            }
        }
        fields.end()
    }
}

impl Serialize for TimelineEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::of(serializer)?;
        fields.put("attempts", self.attempts)?;
        fields.put("at_us", micros(self.at))?;
        match &self.kind {
            TimelineEventKind::Waited { wait, hinted } => {
                fields.put("kind", "waited")?;
                fields.put("wait_us", micros(*wait))?;
                fields.put("hinted", hinted)?;
            }
            TimelineEventKind::Redirected { status, url } => {
                fields.put("kind", "redirected")?;
                fields.put("status", status.as_u16())?;
                fields.put("url", url)?;
            }
            TimelineEventKind::FailedOver { url } => {
                fields.put("kind", "failed_over")?;
                fields.put("url", url)?;
            }
            TimelineEventKind::Replayed => fields.put("kind", "replayed")?,
            TimelineEventKind::CallerRetry { number } => {
                fields.put("kind", "caller_retry")?;
                fields.put("number", number)?;
            }
            TimelineEventKind::Queued { policy, wait } => {
                fields.put("kind", "queued")?;
                fields.put("policy", policy.as_str())?;
                fields.put("wait_us", micros(*wait))?;
            }
            TimelineEventKind::LocalShare => fields.put("kind", "local_share")?,
            TimelineEventKind::Rejected(policy) => {
                fields.put("kind", "rejected")?;
                fields.put("policy", policy.as_str())?;
            }
            TimelineEventKind::Hedged { after } => {
                fields.put("kind", "hedged")?;
                fields.put("after_us", micros(*after))?;
            }
            TimelineEventKind::NotHedged(reason) => {
                fields.put("kind", "not_hedged")?;
                fields.put("reason", reason.as_str())?;
                fields.put("text", reason.to_string())?;
            }
            TimelineEventKind::Stale { age, instead_of } => {
                fields.put("kind", "stale")?;
                fields.put("age_us", micros(*age))?;
                fields.known("instead_of", *instead_of)?;
            }
            TimelineEventKind::Fallback { instead_of } => {
                fields.put("kind", "fallback")?;
                fields.put("instead_of", *instead_of)?;
            }
            TimelineEventKind::Chaos { fault, delay } => {
                fields.put("kind", "chaos")?;
                fields.put("fault", fault.as_str())?;
                fields.known("delay_us", delay.map(micros))?;
            }
        }
        fields.end()
    }
}

/// Serializes the reason as its name and as the sentence that the error prints.
impl Serialize for NoRetryReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::of(serializer)?;
        fields.put("reason", self.as_str())?;
        fields.put("text", self.to_string())?;
        fields.end()
    }
}

impl Serialize for ServerReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::of(serializer)?;
        fields.put("timings", &self.timings)?;
        fields.put("proxies", &self.proxies)?;
        fields.put("via", &self.via)?;
        fields.known("age_us", self.age.map(micros))?;
        fields.known("retry_after_us", self.retry_after.map(micros))?;
        fields.end()
    }
}

impl Serialize for ServerTiming {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::of(serializer)?;
        fields.put("name", &self.name)?;
        fields.known("duration_us", self.duration.map(micros))?;
        fields.end()
    }
}

impl Serialize for ProxyStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::of(serializer)?;
        fields.put("name", &self.name)?;
        fields.known("error", self.error.as_ref())?;
        let received = self.received_status.map(|status| status.as_u16());
        fields.known("received_status", received)?;
        fields.end()
    }
}

macro_rules! words {
    ($($word:ty),*) => {
        $(impl Serialize for $word {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        })*
    };
}

words!(Hop, Kind, Effect, Stage);

/// The fields of an object. Unknown ones are left out.
struct Fields<S: Serializer>(S::SerializeMap);

impl<S: Serializer> Fields<S> {
    fn of(serializer: S) -> Result<Self, S::Error> {
        serializer.serialize_map(None).map(Self)
    }

    fn put(&mut self, name: &'static str, value: impl Serialize) -> Result<(), S::Error> {
        self.0.serialize_entry(name, &value)
    }

    fn known(&mut self, name: &'static str, value: Option<impl Serialize>) -> Result<(), S::Error> {
        value.map_or(Ok(()), |value| self.put(name, value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::hop::Policy;

    #[test]
    fn every_reason_has_a_name_that_stays() {
        let (wait, left) = (Duration::ZERO, Duration::ZERO);
        let unsafe_ = NoRetryReason::NotIdempotent {
            method: Some(Method::POST),
            effect: Effect::Possible,
            keyed: false,
        };
        for (reason, name) in [
            (NoRetryReason::Permanent, "permanent"),
            (unsafe_, "not_idempotent"),
            (NoRetryReason::KeyExpiring { left }, "key_expiring"),
            (NoRetryReason::ServiceNotReady, "service_not_ready"),
            (NoRetryReason::BodyNotReplayable, "body_not_replayable"),
            (
                NoRetryReason::AttemptsExhausted { made: 3 },
                "attempts_exhausted",
            ),
            (NoRetryReason::BudgetExhausted, "budget_exhausted"),
            (
                NoRetryReason::DeadlineTooClose { wait, left },
                "deadline_too_close",
            ),
            (
                NoRetryReason::HintTooLong {
                    hint: Duration::ZERO,
                    most: Duration::ZERO,
                },
                "hint_too_long",
            ),
            (NoRetryReason::ServerOptOut, "server_opt_out"),
            (NoRetryReason::Disabled, "disabled"),
            (NoRetryReason::OtherDestination, "other_destination"),
            (NoRetryReason::RetriedUpstream, "retried_upstream"),
            (NoRetryReason::Rejected(Policy::Breaker), "rejected"),
        ] {
            let written = serde_json::to_value(&reason).unwrap();
            assert_eq!(written["reason"], name);
            assert_eq!(written["text"], reason.to_string());
        }
    }
}
