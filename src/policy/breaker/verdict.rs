//! What an attempt says about its destination.

use std::time::Duration;

use tokio::time::Instant;

use super::cause::Failure;
use super::circuit::Verdict;
use crate::call::Call;
use crate::hop::{Class, Diagnosis, Hop, Kind};
use crate::limit::Waited;
use crate::record::Tracker;

/// What is judged by, apart from how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judge {
    /// An answer that took longer was slow.
    pub(super) slow: Option<Duration>,
    /// Whether 429 is a failure.
    pub(super) throttled_counts: bool,
    /// How long an attempt may take where nothing closer to it tells.
    pub(super) attempt: Duration,
}

impl Judge {
    /// Judges what went wrong, if anything did; `hint` is when the server wants to be asked again.
    pub(crate) fn judge(&self, ended: Option<&Diagnosis>, hint: Option<Duration>) -> Verdict {
        let Some(Diagnosis { hop, kind, .. }) = ended else {
            return Verdict::Success;
        };
        let (kind, Some(hop)) = (*kind, *hop) else {
            // Another guard refused it, or nothing is known of it.
            return Verdict::Ignored;
        };
        match (hop, kind) {
            // This process failed.
            (_, kind) if kind.is_local() => Verdict::Ignored,
            // Ours to mend; and a name that has no address says nothing about who has it.
            (Hop::Encode | Hop::Dns | Hop::Decode, _) => Verdict::Ignored,
            // The caller's own body broke off, or its bound on ours was passed.
            (_, Kind::Body | Kind::TooLarge) => Verdict::Ignored,
            (Hop::Gateway | Hop::Server, Kind::Throttled) if !self.throttled_counts => {
                Verdict::Ignored
            }
            // It understood the request well enough to decline it.
            (
                Hop::Gateway | Hop::Server,
                Kind::Unauthorized
                | Kind::ClientError
                | Kind::InProgress
                | Kind::KeyReused
                | Kind::KeyExpired,
            ) => Verdict::Success,
            (
                Hop::Connect | Hop::Tls | Hop::Send | Hop::Gateway | Hop::Server | Hop::Receive,
                _,
            ) => {
                let hop = Some(hop);
                let failure = Failure { hop, kind };
                Verdict::Failure { failure, hint }
            }
        }
    }

    /// Judges an attempt of an operation. Where a client of ours saw the hop, that is what counts; else
    /// a failure that would come again is the destination's word, which it was well enough to give.
    pub(crate) fn judge_operation(
        &self,
        failed: &Diagnosis,
        class: Class,
        hint: Option<Duration>,
    ) -> Verdict {
        match failed.hop {
            Some(_) => self.judge(Some(failed), hint),
            None if failed.kind.is_refusal() || failed.kind.is_local() => Verdict::Ignored,
            None if class == Class::Lasting => Verdict::Success,
            None => {
                let (hop, kind) = (None, failed.kind);
                let failure = Failure { hop, kind };
                Verdict::Failure { failure, hint }
            }
        }
    }

    /// Ignores a timeout of an attempt that had less time than the configured attempt timeout: it tells
    /// how patient the caller was, not how well the destination is. A hop's own timeout that was set
    /// explicitly counts, because it would have run out under any deadline.
    pub(crate) fn by_allotted(
        &self,
        verdict: Verdict,
        failed: &Diagnosis,
        allotted: impl FnOnce() -> Allotted,
    ) -> Verdict {
        // A 504 is the gateway's own timeout, and counts.
        let timed_out = failed.kind == Kind::Timeout && failed.status.is_none();
        match verdict {
            Verdict::Failure { .. } if timed_out && !self.is_patient(&allotted()) => {
                Verdict::Ignored
            }
            _ => verdict,
        }
    }

    fn is_patient(&self, allotted: &Allotted) -> bool {
        let configured = allotted.configured.unwrap_or(self.attempt);
        let configured = configured.min(self.attempt);
        let slack = (configured / SLACK).max(TICK);
        allotted.is_explicit || allotted.time >= configured.saturating_sub(slack)
    }

    /// An answer that was long in coming says less good of its destination.
    pub(crate) fn by_time(&self, verdict: Verdict, took: impl FnOnce() -> Duration) -> Verdict {
        match (verdict, self.slow) {
            (Verdict::Success, Some(slow)) if took() > slow => Verdict::Slow,
            _ => verdict,
        }
    }
}

/// The time that an attempt had, as a timeout is judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allotted {
    /// From its start to its end.
    pub(crate) time: Duration,
    /// The attempt timeout of its own layer, without what one request shortened; `None` where no layer
    /// of ours made the attempt.
    pub(crate) configured: Option<Duration>,
    /// Whether a hop's own timeout ran out that was set explicitly and not shortened.
    pub(crate) is_explicit: bool,
}

impl Allotted {
    /// Reads it from the call and its attempt, as far as that is known; `since` is when the attempt was
    /// let through, and `which` is what ran out.
    pub(super) fn of(
        (call, attempt): (&Call, Option<&Tracker>),
        since: Instant,
        which: Option<Waited>,
    ) -> Self {
        let start = attempt.map_or(since, Tracker::started);
        let to_deadline = call.deadline().saturating_duration_since(start);
        let limits = attempt.map(Tracker::limits);
        let time = match (which, limits) {
            // The attempt limit may be over at the head; the deadline holds to the last byte.
            (Some(Waited::Deadline), _) | (_, None) => to_deadline,
            (_, Some(limits)) => to_deadline.min(limits.attempt().get()),
        };
        let is_explicit = limits
            .zip(which)
            .is_some_and(|(l, which)| l.is_explicit(which));
        Self {
            time,
            configured: limits.map(|limits| limits.configured_attempt()),
            is_explicit,
        }
    }
}

/// An attempt timeout as long as the deadline loses what the call spends before its first attempt: that
/// part of it is allowed for.
const SLACK: u32 = 100;
/// What a timer's resolution may take from it.
const TICK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::hop::{Effect, Keyed, names};

    const JUDGE: Judge = Judge {
        slow: None,
        throttled_counts: false,
        attempt: Duration::from_secs(5),
    };

    fn judge(hop: Hop, kind: Kind) -> Verdict {
        JUDGE.judge(Some(&Diagnosis::new(hop, kind, Effect::Possible)), None)
    }

    fn by_status(judge: Judge, status: u16) -> Verdict {
        let status = StatusCode::from_u16(status).unwrap();
        let diagnosis = Diagnosis::status(status, &HeaderMap::new(), Keyed::No);
        judge.judge(diagnosis.as_ref(), None)
    }

    fn is_failure(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Failure { .. })
    }

    #[test]
    fn failures_and_timeouts_from_connect_to_receive_count() {
        for hop in [
            Hop::Connect,
            Hop::Tls,
            Hop::Send,
            Hop::Gateway,
            Hop::Server,
            Hop::Receive,
        ] {
            assert!(is_failure(judge(hop, Kind::Timeout)), "{hop}");
            assert!(is_failure(judge(hop, Kind::Other)), "{hop}");
        }
    }

    #[test]
    fn encode_decode_and_dns_do_not_count() {
        for row in names() {
            if matches!(row.hop, Hop::Encode | Hop::Dns | Hop::Decode) {
                assert_eq!(judge(row.hop, row.kind), Verdict::Ignored, "{row:?}");
            }
        }
    }

    #[test]
    fn every_failure_the_table_names_is_judged() {
        let ignored: Vec<_> = names()
            .iter()
            .filter(|row| !matches!(row.hop, Hop::Encode | Hop::Dns | Hop::Decode))
            .filter(|row| !is_failure(judge(row.hop, row.kind)))
            .map(|row| (row.hop, row.kind, judge(row.hop, row.kind)))
            .collect();
        assert_eq!(
            ignored,
            [
                (Hop::Connect, Kind::ConnectionLimit, Verdict::Ignored),
                (Hop::Connect, Kind::LocalResources, Verdict::Ignored),
                (Hop::Tls, Kind::LocalResources, Verdict::Ignored),
                (Hop::Send, Kind::Body, Verdict::Ignored),
                (Hop::Send, Kind::LocalResources, Verdict::Ignored),
                (Hop::Send, Kind::LocalProtocol, Verdict::Ignored),
                (Hop::Gateway, Kind::Throttled, Verdict::Ignored),
                (Hop::Gateway, Kind::Unauthorized, Verdict::Success),
                (Hop::Gateway, Kind::ClientError, Verdict::Success),
                (Hop::Server, Kind::Throttled, Verdict::Ignored),
                (Hop::Server, Kind::Unauthorized, Verdict::Success),
                (Hop::Server, Kind::ClientError, Verdict::Success),
                (Hop::Server, Kind::InProgress, Verdict::Success),
                (Hop::Server, Kind::KeyReused, Verdict::Success),
                (Hop::Server, Kind::LocalResources, Verdict::Ignored),
                (Hop::Server, Kind::LocalProtocol, Verdict::Ignored),
                (Hop::Receive, Kind::TooLarge, Verdict::Ignored),
                (Hop::Receive, Kind::LocalResources, Verdict::Ignored),
                (Hop::Receive, Kind::LocalProtocol, Verdict::Ignored),
            ]
        );
    }

    #[test]
    fn timeout_counts_if_the_attempt_had_the_configured_time() {
        use crate::limit::Waited;
        const MS: fn(u64) -> Duration = Duration::from_millis;
        let deadline = Some(Waited::Deadline);
        let attempt = Some(Waited::Attempt);
        let connect = Some(Waited::Connect);
        // The hop, what ran out, the time that the attempt had, the attempt timeout of its own layer,
        // whether the hop's timeout was set: does it count?
        for (hop, expired, time, own, is_explicit, counts) in [
            (Hop::Server, attempt, 5_000, None, false, true),
            (Hop::Server, deadline, 10_000, None, false, true),
            (Hop::Server, deadline, 10, None, false, false),
            (Hop::Connect, deadline, 10, None, false, false),
            (Hop::Tls, deadline, 10, None, false, false),
            (Hop::Send, deadline, 10, None, false, false),
            (Hop::Receive, deadline, 10, None, false, false),
            // Nearly all of it, as where the attempt timeout is the deadline.
            (Hop::Server, deadline, 4_951, None, false, true),
            (Hop::Server, deadline, 4_949, None, false, false),
            // A hop's derived timeout follows the attempt's.
            (Hop::Connect, connect, 500, None, false, false),
            (Hop::Connect, connect, 5_000, None, false, true),
            // One that was set explicitly does not.
            (Hop::Connect, connect, 500, None, true, true),
            // The attempt's own layer may be the less patient one by its own config.
            (Hop::Server, attempt, 2_000, Some(2_000), false, true),
            (Hop::Server, attempt, 1_000, Some(2_000), false, false),
            (Hop::Server, attempt, 5_000, Some(9_000), false, true),
            // A timer of another make runs inside of the same time.
            (Hop::Server, None, 10, None, false, false),
            (Hop::Server, None, 5_000, None, false, true),
        ] {
            let failed = Diagnosis {
                expired,
                ..Diagnosis::new(hop, Kind::Timeout, Effect::Possible)
            };
            let allotted = Allotted {
                time: MS(time),
                configured: own.map(MS),
                is_explicit,
            };
            let judged = JUDGE.judge(Some(&failed), None);
            let judged = JUDGE.by_allotted(judged, &failed, || allotted);
            assert_eq!(is_failure(judged), counts, "{hop} {expired:?} {allotted:?}");
            assert!(counts || judged == Verdict::Ignored);
        }
    }

    #[test]
    fn what_is_not_a_timeout_of_the_caller_counts_however_short_the_attempt_was() {
        let short = Allotted {
            time: Duration::from_millis(10),
            configured: None,
            is_explicit: false,
        };
        let reset = Diagnosis::new(Hop::Server, Kind::Reset, Effect::Possible);
        let status = StatusCode::GATEWAY_TIMEOUT;
        let gateway = Diagnosis::status(status, &HeaderMap::new(), Keyed::No).unwrap();
        assert_eq!(gateway.kind, Kind::Timeout);
        for failed in [reset, gateway] {
            let judged = JUDGE.judge(Some(&failed), None);
            assert!(is_failure(JUDGE.by_allotted(judged, &failed, || short)));
        }
        let success = JUDGE.by_allotted(Verdict::Success, &reset, || short);
        assert_eq!(success, Verdict::Success);
    }

    #[test]
    fn refusal_by_another_guard_does_not_count() {
        let mut refused = Diagnosis::new(Hop::Server, Kind::Timeout, Effect::None);
        refused.hop = None;
        assert_eq!(JUDGE.judge(Some(&refused), None), Verdict::Ignored);
    }

    #[test]
    fn operation_counts_by_its_class_where_nobody_saw_a_hop() {
        let judge = |diagnosis: Diagnosis, class| JUDGE.judge_operation(&diagnosis, class, None);
        let failed = Diagnosis::operation(Effect::Possible, None);
        assert!(is_failure(judge(failed, Class::Passing)));
        assert_eq!(judge(failed, Class::Lasting), Verdict::Success);
        let refused = Diagnosis::refusal(Kind::Open);
        assert_eq!(judge(refused, Class::Passing), Verdict::Ignored);
        let unnamed = Diagnosis::new(Hop::Dns, Kind::NotFound, Effect::None);
        assert_eq!(judge(unnamed, Class::Passing), Verdict::Ignored);
    }

    #[test]
    fn statuses_4xx_are_the_destination_doing_its_part() {
        for status in [400, 401, 403, 404, 408, 409, 422, 425, 499] {
            assert_eq!(by_status(JUDGE, status), Verdict::Success, "{status}");
        }
        for status in [200, 204, 302, 304] {
            assert_eq!(by_status(JUDGE, status), Verdict::Success, "{status}");
        }
        for status in [500, 502, 503, 504, 599] {
            assert!(is_failure(by_status(JUDGE, status)), "{status}");
        }
    }

    #[test]
    fn status_429_counts_only_where_that_is_wanted() {
        assert_eq!(by_status(JUDGE, 429), Verdict::Ignored);
        let counts = Judge {
            throttled_counts: true,
            ..JUDGE
        };
        assert!(is_failure(by_status(counts, 429)));
    }

    #[test]
    fn answer_that_took_longer_than_the_limit_is_slow() {
        let slow = Judge {
            slow: Some(Duration::from_secs(1)),
            ..JUDGE
        };
        let after = |millis| slow.by_time(Verdict::Success, || Duration::from_millis(millis));
        assert_eq!(after(1_000), Verdict::Success);
        assert_eq!(after(1_001), Verdict::Slow);
        let ignored = slow.by_time(Verdict::Ignored, || Duration::from_secs(9));
        assert_eq!(ignored, Verdict::Ignored);
    }
}
