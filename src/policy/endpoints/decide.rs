//! Decides the order of the endpoints for one call, and the health of an endpoint: pure.

use std::time::Duration;

use tokio::time::Instant;

use super::EndpointConfig;
use crate::affinity::mix;
use crate::hop::{Diagnosis, Hop, Kind};

/// Returns the endpoints in the order in which a call tries them: those that are set aside last, then by priority,
/// then by weight. `seed` is luck, or the session of the call.
pub(super) fn order(
    endpoints: &[EndpointConfig],
    is_aside: impl Fn(usize) -> bool,
    seed: u64,
) -> Vec<usize> {
    let mut order: Vec<_> = (0..endpoints.len()).collect();
    // Weighted rendezvous hashing: the one with the smallest time comes first, with a probability by its weight.
    let time = |at: usize| {
        let number = mix(seed ^ mix(at as u64 + 1)) >> 11;
        let unit = (number as f64 + 0.5) / TWO_TO_THE_53;
        (unit.ln() / f64::from(endpoints[at].get_weight())).abs()
    };
    // The bits of positive numbers have the order of the numbers.
    let key = |at: &usize| {
        let at = *at;
        (
            is_aside(at),
            endpoints[at].get_priority(),
            time(at).to_bits(),
        )
    };
    order.sort_by_cached_key(key);
    order
}

/// The result of an attempt for the health of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndpointOutcome {
    Answered,
    Failed,
    /// No connection was made.
    Unreachable,
    /// It says nothing about the endpoint.
    Unknown,
}

/// Returns the result of an attempt for its endpoint. `None` is a success.
pub(super) fn outcome(failed: Option<&Diagnosis>) -> EndpointOutcome {
    let Some(Diagnosis { hop, kind, .. }) = failed else {
        return EndpointOutcome::Answered;
    };
    match (*hop, *kind) {
        (_, kind) if kind.is_local() => EndpointOutcome::Unknown,
        (None | Some(Hop::Encode | Hop::Decode), _) => EndpointOutcome::Unknown,
        (_, Kind::RequestBody | Kind::TooLarge) => EndpointOutcome::Unknown,
        (Some(Hop::Dns | Hop::Connect | Hop::Tls), _) => EndpointOutcome::Unreachable,
        (
            Some(Hop::Gateway | Hop::Server),
            Kind::BadGateway | Kind::Timeout | Kind::Unavailable | Kind::ServerError,
        ) => EndpointOutcome::Failed,
        (Some(_), _) if failed.is_some_and(|failed| failed.status.is_some()) => {
            EndpointOutcome::Answered
        }
        (Some(_), _) => EndpointOutcome::Failed,
    }
}

/// The health of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EndpointHealth {
    /// Failures without a success in between.
    failures: u32,
    /// How often it was set aside without a success in between.
    times: u32,
    until: Option<Instant>,
}

impl EndpointHealth {
    /// Returns whether calls prefer the other endpoints.
    pub(super) fn is_aside(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Records that a call begins with this endpoint. Returns whether the call is a trial of an endpoint that was set
    /// aside. The other calls then go elsewhere for the same time again.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let is_trial = self.times > 0 && !self.is_aside(now);
        if is_trial {
            self.until = Some(now + self.wait());
        }
        is_trial
    }

    /// Records the result of an attempt. Calls that began before the endpoint was set aside do not set it aside again.
    pub(super) fn record(&mut self, outcome: EndpointOutcome, is_trial: bool, now: Instant) {
        match outcome {
            EndpointOutcome::Answered => *self = Self::default(),
            EndpointOutcome::Unknown => {}
            EndpointOutcome::Failed | EndpointOutcome::Unreachable => {
                self.failures = self.failures.saturating_add(1);
                let is_gone =
                    outcome == EndpointOutcome::Unreachable || self.failures >= FAILURES_IN_A_ROW;
                if is_trial || self.times == 0 && is_gone {
                    self.times = self.times.saturating_add(1);
                    self.until = Some(now + self.wait());
                }
            }
        }
    }

    fn wait(&self) -> Duration {
        let doublings = self.times.saturating_sub(1).min(6);
        FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT)
    }
}

const TWO_TO_THE_53: f64 = 9_007_199_254_740_992.0;
/// One failure is noise, and ten are an outage that every caller has seen.
const FAILURES_IN_A_ROW: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::EndpointOutcome::{Answered, Failed, Unknown, Unreachable};
    use super::*;
    use crate::clock;
    use crate::hop::Effect;

    fn endpoints(rules: &[(u32, u32)]) -> Vec<EndpointConfig> {
        let new = |(priority, weight): &(u32, u32)| {
            EndpointConfig::new("https://a.test")
                .priority(*priority)
                .weight(*weight)
        };
        rules.iter().map(new).collect()
    }

    #[test]
    fn priority_comes_first_and_endpoints_that_are_set_aside_come_last() {
        let all = endpoints(&[(1, 1), (0, 1), (2, 9)]);
        for seed in 0..100 {
            assert_eq!(order(&all, |_| false, seed), [1, 0, 2]);
            assert_eq!(order(&all, |at| at == 1, seed), [0, 2, 1]);
            assert_eq!(order(&all, |_| true, seed), [1, 0, 2]);
        }
    }

    #[test]
    fn weight_is_the_share_of_the_calls_and_one_that_goes_moves_only_its_own() {
        let all = endpoints(&[(0, 1), (0, 2), (0, 1)]);
        let mut firsts = [0; 3];
        for seed in 0..10_000 {
            let before = order(&all, |_| false, mix(seed));
            firsts[before[0]] += 1;
            let after = order(&all, |at| at == 2, mix(seed));
            assert!(before[0] == 2 || before[0] == after[0]);
        }
        for (count, share) in firsts.into_iter().zip([2_500, 5_000, 2_500]) {
            assert!((share - 250..=share + 250).contains(&count), "{firsts:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn endpoint_is_set_aside_at_once_if_unreachable_and_after_three_failures_else() {
        let now = clock::now();
        for (outcomes, is_aside) in [
            (&[Unreachable][..], true),
            (&[Failed, Failed], false),
            (&[Failed, Failed, Failed], true),
            (&[Failed, Failed, Answered, Failed, Failed], false),
            (&[Unknown, Unknown, Unknown, Unknown], false),
            (&[Unreachable, Answered], false),
        ] {
            let mut health = EndpointHealth::default();
            for outcome in outcomes {
                health.record(*outcome, false, now);
            }
            assert_eq!(health.is_aside(now), is_aside, "{outcomes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_at_a_time_tries_it_again_and_each_failed_trial_doubles_the_wait() {
        let (mut now, mut health) = (clock::now(), EndpointHealth::default());
        for _ in 0..9 {
            health.record(Unreachable, false, now);
        }
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = Duration::from_secs(wait);
            assert!(health.is_aside(now + wait - Duration::from_millis(1)));
            now += wait;
            assert!(!health.is_aside(now), "{wait:?}");
            assert!(health.begin(now) && health.is_aside(now), "one trial");
            health.record(Failed, true, now);
        }
        health.record(Answered, true, now);
        assert!(!health.is_aside(now) && !health.begin(now));
    }

    #[test]
    fn only_failures_of_the_endpoint_count_against_it() {
        let status = |code: u16, kind| Diagnosis {
            status: Some(http::StatusCode::from_u16(code).unwrap()),
            ..Diagnosis::new(Hop::Server, kind, Effect::unsent())
        };
        let at = |hop, kind| Diagnosis::unsent(hop, kind);
        assert_eq!(outcome(None), Answered);
        for (failed, expected) in [
            (at(Hop::Connect, Kind::Refused), Unreachable),
            (at(Hop::Dns, Kind::NotFound), Unreachable),
            (at(Hop::Tls, Kind::CertificateExpired), Unreachable),
            (at(Hop::Connect, Kind::LocalResources), Unknown),
            (at(Hop::Encode, Kind::InvalidRequest), Unknown),
            (at(Hop::Server, Kind::Closed), Failed),
            (at(Hop::Receive, Kind::Incomplete), Failed),
            (Diagnosis::refusal(Kind::CircuitOpen), Unknown),
            (status(500, Kind::ServerError), Failed),
            (status(503, Kind::Unavailable), Failed),
            (status(404, Kind::ClientError), Answered),
            (status(429, Kind::Throttled), Answered),
        ] {
            assert_eq!(outcome(Some(&failed)), expected, "{failed:?}");
        }
    }
}
