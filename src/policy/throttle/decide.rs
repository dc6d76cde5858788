//! The probability of a rejection, and the meaning of a response: pure.

use std::time::Duration;

use http::StatusCode;

use crate::hop::FailureClass;
use crate::policy::is_overload;

/// The rules of a throttle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rules {
    pub(super) multiplier: f64,
    pub(super) window: Duration,
}

/// Returns the probability with which an attempt is rejected: max(0, (requests − K · accepts) / (requests + 1)).
#[expect(
    clippy::cast_precision_loss,
    reason = "a window holds fewer than 2^52 attempts"
)]
pub(super) fn probability(requests: u64, accepts: u64, multiplier: f64) -> f64 {
    let excess = requests as f64 - multiplier * accepts as f64;
    (excess / (requests as f64 + 1.0)).max(0.0)
}

/// Spreads the rejections evenly over the attempts. Independent draws would let attempts pass in clusters: of a server
/// with a strict rate, they would waste a part of the rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    /// The sum of the probabilities, less the rejections: from -1 to 2.
    owed: f64,
}

impl Spread {
    /// Decides whether an attempt is rejected. `luck` keeps callers that take turns from sharing the rejections
    /// unevenly.
    pub(super) fn rejects(&mut self, probability: f64, luck: f64) -> bool {
        self.owed += probability;
        let rejects = self.owed > luck;
        if rejects {
            self.owed -= 1.0;
        }
        rejects
    }
}

/// The meaning of the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    Overloaded,
    /// It says nothing about the load of the destination.
    Ignored,
}

/// Judges a response. `has_hint` says whether the server asks for a wait.
pub(super) fn judge(
    status: StatusCode,
    (class, is_failed): (Option<FailureClass>, bool),
    has_hint: bool,
) -> Verdict {
    let is_failed = is_failed || status.as_u16() >= 400;
    match class {
        _ if is_overload(status, class) => Verdict::Overloaded,
        Some(FailureClass::Success) => Verdict::Accepted,
        Some(FailureClass::Ignore) => Verdict::Ignored,
        _ if is_failed && has_hint => Verdict::Overloaded,
        _ => Verdict::Accepted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_follows_the_excess_over_the_accepted_attempts() {
        for ((requests, accepts), expected) in [
            ((0, 0), 0.0),
            ((1, 0), 0.5),
            ((1, 1), 0.0),
            ((10, 5), 0.0),
            ((10, 4), 0.1818),
            ((10, 0), 0.9091),
            ((100, 25), 0.4951),
            ((100, 10), 0.7921),
            ((1000, 100), 0.7992),
        ] {
            let found = probability(requests, accepts, 2.0);
            assert!(
                (found - expected).abs() < 1e-4,
                "{requests} {accepts}: {found}"
            );
        }
    }

    #[test]
    fn rejections_are_as_many_as_the_probability_says_and_spread_evenly() {
        for (probability, longest) in [(0.1, 22), (0.5, 4), (0.9, 2)] {
            for luck in [0.0, 0.5, 0.999] {
                let mut spread = Spread::default();
                let rejects: Vec<_> = (0..1_000)
                    .map(|_| spread.rejects(probability, luck))
                    .collect();
                let rejected = rejects.iter().filter(|rejects| **rejects).count() as f64;
                let expected = 1_000.0 * probability;
                assert!((rejected - expected).abs() <= 1.0, "{rejected}, {expected}");
                let passed = rejects.split(|rejects| *rejects).map(<[bool]>::len).max();
                assert!(passed < Some(longest), "{probability} {luck}: {passed:?}");
            }
        }
    }

    #[test]
    fn callers_that_take_turns_share_the_rejections() {
        fastrand::seed(1);
        let mut spread = Spread::default();
        let mut of_first = 0;
        for at in 0..1_000 {
            let rejects = spread.rejects(0.5, fastrand::f64());
            of_first += u32::from(rejects && at % 2 == 0);
        }
        assert!((150..350).contains(&of_first), "of 500: {of_first}");
    }

    #[test]
    fn overload_is_a_status_a_hint_or_the_word_of_the_classifier() {
        use FailureClass::{Ignore, Permanent, Success, Throttled, Transient};
        use Verdict::{Accepted, Ignored, Overloaded};
        for (status, class, has_hint, expected) in [
            (200, None, false, Accepted),
            (200, None, true, Accepted),
            (404, None, false, Accepted),
            (404, None, true, Overloaded),
            (429, None, false, Overloaded),
            (500, None, false, Accepted),
            (500, None, true, Overloaded),
            (503, None, false, Overloaded),
            (529, None, false, Overloaded),
            (200, Some(Throttled), false, Overloaded),
            (400, Some(Throttled), false, Overloaded),
            (503, Some(Success), true, Accepted),
            (503, Some(Ignore), true, Ignored),
            (503, Some(Transient), false, Overloaded),
            (429, Some(Permanent), false, Overloaded),
            (500, Some(Transient), false, Accepted),
        ] {
            let code = StatusCode::from_u16(status).unwrap();
            let found = judge(code, (class, false), has_hint);
            assert_eq!(found, expected, "{status} {class:?} {has_hint}");
        }
        // A classifier saw a failure in a 2xx.
        let failed = judge(StatusCode::OK, (Some(Transient), true), true);
        assert_eq!(failed, Overloaded);
    }
}
