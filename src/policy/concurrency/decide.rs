//! The limit of a destination, and what it learns from an attempt: pure.
//!
//! Vegas and gradient2 follow the algorithms of the same names in Netflix's concurrency-limits. Vegas compares the time
//! of an attempt with the time without load, gradient2 with the long-term average.

use std::time::Duration;

/// How a limit changes.
#[expect(
    clippy::exhaustive_enums,
    reason = "a new one is a new decision for its users"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Algorithm {
    /// It does not change.
    Fixed,
    /// It grows by one while at least half of it is used, and shrinks by a tenth at each overload.
    Aimd,
    /// It follows the ratio of the long-term average time to the latest time, plus a small queue.
    Gradient2,
    /// It estimates the queue at the server from the shortest time seen, and keeps that queue small.
    Vegas,
}

/// The rules of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) algorithm: Algorithm,
    pub(super) initial: u32,
    pub(super) least: u32,
    pub(super) most: u32,
}

/// The facts of an attempt that show the load of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// The time to the response head.
    pub(super) took: Duration,
    /// The number of attempts in flight when it began, itself included.
    pub(super) in_flight: u32,
    pub(super) is_overload: bool,
}

/// The current limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    limit: f64,
    /// Vegas: the shortest time. Gradient2: the long-term average. In seconds.
    reference: Option<f64>,
    /// The number of samples since the reference was set.
    samples: u32,
}

impl Estimate {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            limit: rules.initial.into(),
            reference: None,
            samples: 0,
        }
    }

    /// Returns the limit in whole attempts.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is at least 1, and within u32"
    )]
    pub(super) fn limit(&self) -> u32 {
        self.limit.max(1.0) as u32
    }

    /// Follows other rules. The learned limit stays, within the new bounds.
    pub(super) fn follow(&mut self, rules: &Rules) {
        match rules.algorithm {
            Algorithm::Fixed => *self = Self::new(rules),
            Algorithm::Aimd | Algorithm::Gradient2 | Algorithm::Vegas => {
                (self.reference, self.samples) = (None, 0);
                self.limit = self.limit.clamp(rules.least.into(), rules.most.into());
            }
        }
    }

    /// Learns from the end of an attempt.
    pub(super) fn learn(&mut self, rules: &Rules, sample: Sample) {
        let limit = match rules.algorithm {
            Algorithm::Fixed => return,
            Algorithm::Aimd => aimd(self.limit, sample),
            Algorithm::Gradient2 => self.gradient2(sample),
            Algorithm::Vegas => self.vegas(sample),
        };
        self.limit = limit.clamp(rules.least.into(), rules.most.into());
    }

    fn gradient2(&mut self, sample: Sample) -> f64 {
        let limit = self.limit;
        if sample.is_overload {
            return limit * SHRINK;
        }
        let took = sample.took.as_secs_f64();
        self.samples = self.samples.saturating_add(1);
        let average = match self.reference {
            // The first samples are averaged evenly.
            Some(average) => {
                let weight = f64::from(self.samples.min(LONG_TERM));
                average + (took - average) / weight
            }
            None => took,
        };
        // After a long overload the average comes back soon.
        let average = if average > 2.0 * took {
            average * 0.95
        } else {
            average
        };
        self.reference = Some(average);
        if f64::from(sample.in_flight) < limit / 2.0 || took <= 0.0 {
            return limit;
        }
        let gradient = (TOLERANCE * average / took).clamp(0.5, 1.0);
        let target = limit * gradient + SMALL_QUEUE;
        limit + SMOOTHING * (target - limit)
    }

    fn vegas(&mut self, sample: Sample) -> f64 {
        let limit = self.limit;
        let step = limit.log10().floor().max(1.0);
        if sample.is_overload {
            return limit - step;
        }
        let took = sample.took.as_secs_f64();
        self.samples = self.samples.saturating_add(1);
        let is_old = f64::from(self.samples) > PROBE_AFTER * limit;
        let shortest = match self.reference {
            Some(shortest) if shortest <= took && !is_old => shortest,
            _ => {
                (self.reference, self.samples) = (Some(took), 0);
                return limit;
            }
        };
        // A client that does not use its limit learns nothing about it.
        if f64::from(sample.in_flight) * 2.0 < limit || took <= 0.0 {
            return limit;
        }
        let queue = (limit * (1.0 - shortest / took)).ceil();
        let (alpha, beta) = (ALPHA * step, BETA * step);
        if queue <= step {
            limit + beta
        } else if queue < alpha {
            limit + step
        } else if queue > beta {
            limit - step
        } else {
            limit
        }
    }
}

fn aimd(limit: f64, sample: Sample) -> f64 {
    if sample.is_overload {
        limit * SHRINK
    } else if f64::from(sample.in_flight) * 2.0 >= limit {
        limit + 1.0
    } else {
        limit
    }
}

/// An overload shrinks the limit by a tenth.
const SHRINK: f64 = 0.9;
/// Vegas: a queue of less than alpha lets the limit grow, one of more than beta shrinks it. Times the logarithm of the
/// limit.
const ALPHA: f64 = 3.0;
const BETA: f64 = 6.0;
/// Vegas measures the time without load again after this many samples for each attempt of the limit.
const PROBE_AFTER: f64 = 30.0;
/// Gradient2: the number of samples in the long-term average.
const LONG_TERM: u32 = 600;
/// Gradient2: attempts may take this many times the average before the limit shrinks.
const TOLERANCE: f64 = 1.5;
/// Gradient2: a queue that lets the limit grow.
const SMALL_QUEUE: f64 = 4.0;
const SMOOTHING: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(algorithm: Algorithm, initial: u32, (least, most): (u32, u32)) -> Rules {
        Rules {
            algorithm,
            initial,
            least,
            most,
        }
    }

    fn well(millis: u64, in_flight: u32) -> Sample {
        Sample {
            took: Duration::from_millis(millis),
            in_flight,
            is_overload: false,
        }
    }

    fn overload(in_flight: u32) -> Sample {
        Sample {
            is_overload: true,
            ..well(10, in_flight)
        }
    }

    /// Returns the limit after each sample.
    fn limits(rules: &Rules, samples: &[Sample]) -> Vec<u32> {
        let mut estimate = Estimate::new(rules);
        let learn = |sample: &Sample| {
            estimate.learn(rules, *sample);
            estimate.limit()
        };
        samples.iter().map(learn).collect()
    }

    #[test]
    fn fixed_limit_learns_nothing() {
        let rules = rules(Algorithm::Fixed, 10, (1, 200));
        assert_eq!(limits(&rules, &[overload(10), well(1, 10)]), [10, 10]);
    }

    #[test]
    fn aimd_grows_by_one_and_shrinks_by_a_tenth() {
        let from = |initial| rules(Algorithm::Aimd, initial, (20, 200));
        for (initial, sample, expected) in [
            (20, well(10, 10), 21),
            (20, well(10, 9), 20),
            (30, overload(30), 27),
            (21, overload(30), 20),
            (200, well(10, 200), 200),
        ] {
            assert_eq!(
                limits(&from(initial), &[sample]),
                [expected],
                "{initial} {sample:?}"
            );
        }
    }

    #[test]
    fn vegas_keeps_the_queue_between_alpha_and_beta() {
        let rules = rules(Algorithm::Vegas, 10, (1, 20));
        for (second, expected) in [
            (well(10, 11), 16),
            (well(50, 11), 9),
            (well(14, 14), 10),
            (well(12, 14), 11),
            (well(10, 4), 10),
            (overload(11), 9),
        ] {
            let found = limits(&rules, &[well(10, 10), second]);
            assert_eq!(found, [10, expected], "{second:?}");
        }
        assert_eq!(
            limits(&rules, &[well(10, 10), well(10, 11), well(10, 17)])[2],
            20
        );
    }

    #[test]
    fn vegas_measures_the_time_without_load_again() {
        let rules = rules(Algorithm::Vegas, 10, (1, 10));
        // The server has become slower for good: at first that looks like a queue.
        let mut samples = vec![well(10, 10)];
        samples.extend([well(40, 10); 400]);
        let limits = limits(&rules, &samples);
        assert_eq!(limits.iter().min(), Some(&8));
        assert_eq!(limits.last(), Some(&10));
    }

    #[test]
    fn gradient_grows_while_the_time_is_steady_and_shrinks_when_it_rises() {
        let rules = rules(Algorithm::Gradient2, 20, (5, 100));
        let steady = limits(&rules, &[well(10, 100); 50]);
        assert!(steady.is_sorted(), "{steady:?}");
        assert!(steady.last() > Some(&40), "{steady:?}");
        let mut samples = [well(10, 20); 10].to_vec();
        samples.extend([well(100, 40); 3]);
        let found = limits(&rules, &samples);
        assert!(found[12] < found[9], "{found:?}");
        assert_eq!(limits(&rules, &[well(10, 9)]), [20]);
        assert_eq!(limits(&rules, &[overload(20)]), [18]);
    }

    #[test]
    fn limit_that_was_learned_stays_within_new_bounds() {
        let aimd = rules(Algorithm::Aimd, 50, (1, 200));
        let mut estimate = Estimate::new(&aimd);
        estimate.follow(&rules(Algorithm::Aimd, 10, (1, 30)));
        assert_eq!(estimate.limit(), 30);
        estimate.follow(&rules(Algorithm::Fixed, 7, (1, 200)));
        assert_eq!(estimate.limit(), 7);
    }
}
