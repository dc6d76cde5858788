//! Refuses an invalid config of a breaker.

use crate::timeout::LONGEST;
use std::time::Duration;

use super::config::CircuitBreakerConfig;
use super::rules::{FailureWindow, Recovery};
use crate::config_error::{ConfigError, expected};
use crate::timeout::Timeouts;

impl CircuitBreakerConfig {
    /// Refuses values that are out of range, that contradict each other, or that contradict the timeouts.
    pub(crate) fn check(&self, timeouts: &Timeouts) -> Result<(), ConfigError> {
        expected::share("circuit_breaker.failure_ratio", self.get_failure_ratio())?;
        expected::count(VOLUME_PATH, self.get_min_attempts(), 1..=u32::MAX)?;
        if let Some(attempts) = self.consecutive_failures {
            expected::count(
                "circuit_breaker.consecutive_failures",
                attempts,
                1..=u32::MAX,
            )?;
        }
        check_recovery(self.get_recovery())?;
        self.check_slow(timeouts)?;
        self.check_open_times()?;
        self.check_window(timeouts.attempt())
    }

    fn check_slow(&self, timeouts: &Timeouts) -> Result<(), ConfigError> {
        let (slow, ratio) = (
            "circuit_breaker.slow_threshold",
            "circuit_breaker.slow_ratio",
        );
        match (self.slow_threshold, self.slow_ratio) {
            (None, None) => return Ok(()),
            (None, Some(share)) => {
                let expected = "no ratio without circuit_breaker.slow_threshold";
                return Err(ConfigError::invalid(ratio, share, expected));
            }
            (Some(limit), share) => {
                expected::wait(slow, limit)?;
                share.map_or(Ok(()), |share| expected::share(ratio, share))?;
                // If no other attempt can follow, the derived attempt timeout is all of the time left.
                let longest = match timeouts.has_attempt() {
                    true => ("timeouts.attempt", timeouts.attempt()),
                    false => ("deadline", timeouts.deadline()),
                };
                if limit > longest.1 {
                    return Err(ConfigError::longer((slow, limit), longest));
                }
            }
        }
        Ok(())
    }

    fn check_open_times(&self) -> Result<(), ConfigError> {
        let most = (MOST_PATH, self.get_max_break_duration());
        expected::wait(most.0, most.1)?;
        let Some(times) = &self.break_durations else {
            let (path, first) = ("circuit_breaker.break_duration", self.get_break_duration());
            expected::wait(path, first)?;
            if first > most.1 {
                return Err(ConfigError::longer((path, first), most));
            }
            let (path, factor) = (
                "circuit_breaker.break_duration_factor",
                self.get_break_duration_factor(),
            );
            return match (1.0..=MOST_FACTOR).contains(&factor) {
                true => Ok(()),
                false => Err(ConfigError::invalid(path, factor, "1 to 100")),
            };
        };
        if self.break_duration.is_some() || self.break_duration_factor.is_some() {
            let expected = "no times beside circuit_breaker.break_duration or circuit_breaker.break_duration_factor";
            return Err(ConfigError::invalid(TIMES_PATH, times, expected));
        }
        if times.is_empty() {
            let expected = "a time for each opening: none was given, or the function panicked";
            return Err(ConfigError::invalid(TIMES_PATH, times, expected));
        }
        for time in times.iter() {
            expected::wait(TIMES_PATH, *time)?;
            if *time > most.1 {
                return Err(ConfigError::longer((TIMES_PATH, *time), most));
            }
        }
        Ok(())
    }

    fn check_window(&self, attempt: Duration) -> Result<(), ConfigError> {
        match self.window {
            None => Ok(()),
            Some(FailureWindow::Time(length)) => {
                let path = "circuit_breaker.window.time";
                if length.is_zero() || length > LONGEST * 2 {
                    let expected = "more than 0s, at most 172800s";
                    return Err(ConfigError::invalid(path, length, expected));
                }
                if length < attempt * 2 {
                    let least = ("twice timeouts.attempt", attempt);
                    return Err(ConfigError::less((path, length), least));
                }
                Ok(())
            }
            Some(FailureWindow::Count(attempts)) => {
                let path = "circuit_breaker.window.count";
                expected::count(path, attempts, 1..=LONGEST_COUNT)?;
                let volume = self.get_min_attempts();
                match attempts < volume {
                    true => Err(ConfigError::less((path, attempts), (VOLUME_PATH, volume))),
                    false => Ok(()),
                }
            }
        }
    }
}

fn check_recovery(recovery: Recovery) -> Result<(), ConfigError> {
    match recovery {
        Recovery::Successes(probes) => expected::count(
            "circuit_breaker.recovery.successes",
            probes,
            1..=MOST_PROBES,
        ),
        Recovery::Ratio {
            probes,
            failure_ratio,
        } => {
            expected::count(
                "circuit_breaker.recovery.ratio.probes",
                probes,
                1..=MOST_PROBES,
            )?;
            expected::share(
                "circuit_breaker.recovery.ratio.failure_ratio",
                failure_ratio,
            )
        }
        Recovery::Ramp { step } => expected::wait("circuit_breaker.recovery.ramp.step", step),
    }
}

const VOLUME_PATH: &str = "circuit_breaker.min_attempts";
const MOST_PATH: &str = "circuit_breaker.max_break_duration";
const TIMES_PATH: &str = "circuit_breaker.break_durations";
/// With a larger factor the second opening would last over a hundred times as long as the first.
const MOST_FACTOR: f64 = 100.0;
/// The circuit keeps a lease for each probe.
const MOST_PROBES: u32 = 64;
/// The circuit keeps one byte for each attempt.
const LONGEST_COUNT: u32 = 10_000;
