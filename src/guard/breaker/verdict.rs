//! What an attempt says about its destination.

use std::time::Duration;

use super::cause::Failure;
use super::circuit::Verdict;
use crate::hop::{Class, Diagnosis, Hop, Kind};

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

    /// An answer that was long in coming says less good of its destination.
    pub(crate) fn by_time(&self, verdict: Verdict, took: impl FnOnce() -> Duration) -> Verdict {
        match (verdict, self.slow) {
            (Verdict::Success, Some(slow)) if took() > slow => Verdict::Slow,
            _ => verdict,
        }
    }
}

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
