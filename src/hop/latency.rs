use crate::timeout::LONGEST;
use std::time::Duration;

use crate::config_error::{ConfigError, expected};

/// The distribution of the delay of a response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency(Shape);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Between { least: Duration, most: Duration },
    Tailed { median: Duration, p99: Duration },
}

impl Latency {
    /// Returns a uniform distribution between two delays.
    #[must_use]
    pub const fn between(least: Duration, most: Duration) -> Self {
        Self(Shape::Between { least, most })
    }

    /// Returns a distribution with this median and this 99th percentile, the values that a dashboard shows of a
    /// service. It is log-logistic and cut off at its 99.9th percentile.
    #[must_use]
    pub const fn tailed(median: Duration, p99: Duration) -> Self {
        Self(Shape::Tailed { median, p99 })
    }

    /// Returns the delay for a random number within [0, 1).
    pub(crate) fn at(self, luck: f64) -> Duration {
        let secs = match self.0 {
            Shape::Between { least, most } => {
                least.as_secs_f64() + most.saturating_sub(least).as_secs_f64() * luck
            }
            Shape::Tailed { median, p99 } => {
                let luck = luck.min(CUT_OFF);
                let spread = p99.div_duration_f64(median).ln() / 99_f64.ln();
                median.as_secs_f64() * (luck / (1.0 - luck)).powf(spread)
            }
        };
        let most = LONGEST;
        Duration::try_from_secs_f64(secs).map_or(most, |delay| delay.min(most))
    }

    pub(crate) fn check(self) -> Result<(), ConfigError> {
        let (shorter, longer) = match self.0 {
            Shape::Between { least, most } => ((LEAST, least), ("chaos.latency.most", most)),
            Shape::Tailed { median, p99 } => {
                if median.is_zero() {
                    return Err(ConfigError::invalid(MEDIAN, median, expected::WAIT));
                }
                ((MEDIAN, median), ("chaos.latency.p99", p99))
            }
        };
        expected::wait(longer.0, longer.1)?;
        if shorter.1 > longer.1 {
            return Err(ConfigError::longer(shorter, longer));
        }
        Ok(())
    }
}

const LEAST: &str = "chaos.latency.least";
const MEDIAN: &str = "chaos.latency.median";
/// Without this cut, a very rare draw would delay a response for days.
const CUT_OFF: f64 = 0.999;

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    fn about(delay: Duration, millis: u64) -> bool {
        delay.abs_diff(MILLIS(millis)) < MILLIS(1)
    }

    #[test]
    fn uniform_delays_go_from_one_end_to_the_other() {
        let latency = Latency::between(MILLIS(100), MILLIS(300));
        for (luck, millis) in [(0.0, 100), (0.5, 200), (0.999_999, 300)] {
            assert!(about(latency.at(luck), millis), "{luck}");
        }
        assert_eq!(Latency::between(MILLIS(5), MILLIS(5)).at(0.7), MILLIS(5));
    }

    #[test]
    fn tail_goes_through_median_and_p99_and_has_an_end() {
        let latency = Latency::tailed(MILLIS(200), MILLIS(3_000));
        for (luck, millis) in [(0.0, 0), (0.5, 200), (0.99, 3_000)] {
            assert!(
                about(latency.at(luck), millis),
                "{luck} {:?}",
                latency.at(luck)
            );
        }
        assert_eq!(latency.at(CUT_OFF), latency.at(1.0 - f64::EPSILON));
        assert!(latency.at(CUT_OFF) < MILLIS(12_000));
        let steep = Latency::tailed(Duration::from_nanos(1), LONGEST);
        assert_eq!(steep.at(CUT_OFF), LONGEST);
    }

    #[test]
    fn latency_that_makes_no_sense_is_refused_by_name_and_value() {
        let day = LONGEST;
        for (latency, said) in [
            (
                Latency::between(MILLIS(2), MILLIS(1)),
                "chaos.latency.least: 2ms is invalid: expected at most chaos.latency.most (1ms)",
            ),
            (
                Latency::between(MILLIS(0), MILLIS(0)),
                "chaos.latency.most: 0ns is invalid: expected more than 0s",
            ),
            (
                Latency::between(MILLIS(0), day * 2),
                "chaos.latency.most: 172800s is invalid: expected more than 0s",
            ),
            (
                Latency::tailed(MILLIS(0), MILLIS(1)),
                "chaos.latency.median: 0ns is invalid: expected more than 0s",
            ),
            (
                Latency::tailed(MILLIS(3), MILLIS(1)),
                "chaos.latency.median: 3ms is invalid: expected at most chaos.latency.p99 (1ms)",
            ),
            (
                Latency::tailed(MILLIS(3), day * 2),
                "chaos.latency.p99: 172800s is invalid: expected more than 0s",
            ),
        ] {
            let refused = latency.check().unwrap_err().to_string();
            assert!(refused.starts_with(said), "{refused}");
        }
        assert!(Latency::between(MILLIS(0), day).check().is_ok());
        assert!(Latency::tailed(MILLIS(1), MILLIS(1)).check().is_ok());
    }
}
