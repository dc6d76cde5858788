//! The verdict of an attempt about its destination.

use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{CountedFailure, Verdict, Weight};
use super::cause::FailureSite;
use crate::clock;
use crate::hop::{Diagnosis, FailureClass, Hop, Kind, Retryability};
use crate::record::Tracker;
use crate::timeout::TimeoutKind;

/// The part of a config by which attempts are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judge {
    /// An attempt is slow if its response takes longer than this.
    pub(super) slow: Option<Duration>,
    /// Whether 429 is a failure.
    pub(super) count_throttled_as_failure: bool,
    /// Whether circuits only judge, and reject nothing.
    pub(super) observe_only: bool,
    /// The configured time of an attempt, for attempts whose own layer does not give it.
    pub(super) attempt: Duration,
}

impl Judge {
    /// Judges a failure, or a success if there is none. `hint` is the wait that the server asks for.
    pub(crate) fn judge(&self, ended: Option<&Diagnosis>, hint: Option<Duration>) -> Verdict {
        let Some(Diagnosis { hop, kind, .. }) = ended else {
            return Verdict::Success;
        };
        let (kind, Some(hop)) = (*kind, *hop) else {
            // Another policy rejected it, or nothing is known about it.
            return Verdict::Ignored;
        };
        match (hop, kind) {
            // The failure is in this process.
            (_, kind) if kind.is_local() => Verdict::Ignored,
            // The caller has to fix these. A name without an address says nothing about the server.
            (Hop::Encode | Hop::Dns | Hop::Decode, _) => Verdict::Ignored,
            // The proxy refused it, so it says nothing about the destination behind the proxy.
            (_, Kind::ProxyDenied | Kind::ProxyUnauthorized) => Verdict::Ignored,
            // The caller's own body failed, or the response body exceeded the caller's bound.
            (_, Kind::RequestBody | Kind::TooLarge) => Verdict::Ignored,
            (Hop::Gateway | Hop::Server, Kind::Throttled) if !self.count_throttled_as_failure => {
                Verdict::Throttled
            }
            // The server understood the request well enough to decline it.
            (
                Hop::Gateway | Hop::Server,
                Kind::Unauthorized
                | Kind::PreconditionFailed
                | Kind::PreconditionRequired
                | Kind::ClientError
                | Kind::InProgress
                | Kind::KeyReused
                | Kind::KeyExpired,
            ) => Verdict::Success,
            (
                Hop::Connect | Hop::Tls | Hop::Send | Hop::Gateway | Hop::Server | Hop::Receive,
                _,
            ) => {
                let weight = match (kind, hint) {
                    (Kind::Unavailable, Some(_)) => Weight::Never,
                    (Kind::Unavailable, None) => Weight::IfDown,
                    _ => Weight::Always,
                };
                failure((Some(hop), kind), hint, weight)
            }
        }
    }

    /// Judges like `judge`, with the class of the user's classifier. The classifier cannot blame the destination for
    /// a failure of this process, of DNS or of the request.
    pub(crate) fn by_class(
        &self,
        verdict: Verdict,
        (failed, hint): (&Diagnosis, Option<Duration>),
        class: Option<FailureClass>,
    ) -> Verdict {
        let by_table = |class| match class {
            FailureClass::Success => Verdict::Success,
            FailureClass::Ignore => Verdict::Ignored,
            FailureClass::Throttled if !self.count_throttled_as_failure => Verdict::Throttled,
            // A permanent failure without a status (such as a failed connect) is not a sign of a healthy destination.
            FailureClass::Permanent if failed.status.is_some() => Verdict::Success,
            FailureClass::Permanent => verdict,
            FailureClass::Transient | FailureClass::Throttled => match verdict {
                Verdict::Failure(_) => verdict,
                _ => failure((failed.hop, failed.kind), hint, Weight::Always),
            },
        };
        match verdict {
            Verdict::Ignored => verdict,
            _ => class.map_or(verdict, by_table),
        }
    }

    /// Returns when an attempt that began at `began` has had its configured time.
    pub(crate) fn ends(&self, began: Instant) -> Instant {
        clock::after(began, self.attempt)
    }

    /// Judges an attempt of an operation. If a client of this crate observed the hop, that hop counts. Otherwise a
    /// permanent failure counts as a decision of the destination, which is then up.
    pub(crate) fn judge_operation(
        &self,
        failed: &Diagnosis,
        class: Retryability,
        hint: Option<Duration>,
    ) -> Verdict {
        match failed.hop {
            Some(_) => self.judge(Some(failed), hint),
            None if failed.kind.is_refusal() || failed.kind.is_local() => Verdict::Ignored,
            None if class == Retryability::Permanent => Verdict::Success,
            None => failure((None, failed.kind), hint, Weight::Always),
        }
    }

    /// Ignores a timeout of an attempt that had less time than the configured attempt timeout. Such a timeout shows
    /// how patient the caller was, not how healthy the destination is. An explicit timeout of a hop counts, because
    /// it would have run out under any deadline.
    pub(crate) fn by_allotted(
        &self,
        verdict: Verdict,
        failed: &Diagnosis,
        allotted: impl FnOnce() -> Allotted,
    ) -> Verdict {
        // A 504 is the gateway's own timeout, so it counts.
        let timed_out = failed.kind == Kind::Timeout && failed.status.is_none();
        match verdict {
            Verdict::Failure(_) if timed_out && !self.is_patient(&allotted()) => Verdict::Ignored,
            _ => verdict,
        }
    }

    /// Returns whether an attempt had the time that its config gives it.
    pub(crate) fn is_patient(&self, allotted: &Allotted) -> bool {
        allotted.is_whole(Some(self.attempt))
    }

    /// Marks a late response or a late failure as slow.
    pub(crate) fn by_time(&self, verdict: Verdict, took: impl Fn() -> Duration) -> Verdict {
        match self.slow {
            Some(limit) if took() > limit => verdict.slow(),
            _ => verdict,
        }
    }
}

fn failure((hop, kind): (Option<Hop>, Kind), hint: Option<Duration>, weight: Weight) -> Verdict {
    Verdict::Failure(CountedFailure {
        failure: FailureSite { hop, kind },
        hint,
        is_slow: false,
        weight,
    })
}

/// The time that an attempt had. Its timeout is judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allotted {
    /// The time from its start to its end.
    pub(crate) time: Duration,
    /// The attempt timeout of its own layer, without what the request shortened. `None` if no layer of this crate
    /// made the attempt.
    pub(crate) configured: Option<Duration>,
    /// Whether an explicit hop timeout ran out that the request had not shortened.
    pub(crate) is_explicit: bool,
}

impl Allotted {
    /// Reads these values from the call's deadline and its attempt, as far as they are known. `since` is when the attempt got
    /// its permit, and `which` is the timeout that ran out.
    pub(crate) fn of(
        (deadline, attempt): (Instant, Option<&Tracker>),
        since: Instant,
        which: Option<TimeoutKind>,
    ) -> Self {
        let start = attempt.map_or(since, Tracker::started);
        let to_deadline = deadline.saturating_duration_since(start);
        let timeouts = attempt.map(Tracker::timeouts);
        let time = match (which, timeouts) {
            // The attempt timeout may end at the head; the deadline holds to the last byte.
            (Some(TimeoutKind::Deadline), _) | (_, None) => to_deadline,
            (_, Some(timeouts)) => to_deadline.min(timeouts.attempt()),
        };
        let is_explicit = timeouts
            .zip(which)
            .is_some_and(|(l, which)| l.is_explicit(which));
        Self {
            time,
            configured: timeouts.map(|timeouts| timeouts.configured_attempt()),
            is_explicit,
        }
    }

    /// Returns whether an attempt had the time that its config gives it. At most `most` of that is expected.
    pub(crate) fn is_whole(&self, most: Option<Duration>) -> bool {
        let expected = self.configured.into_iter().chain(most).min();
        let expected = expected.unwrap_or_default();
        let slack = (expected / SLACK).max(TICK);
        self.is_explicit || self.time >= expected.saturating_sub(slack)
    }
}

/// An attempt timeout as long as the deadline loses the time that the call spends before its first attempt. The
/// allowance for that is the timeout divided by this.
const SLACK: u32 = 100;
/// The resolution of a timer.
const TICK: Duration = Duration::from_millis(1);

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
