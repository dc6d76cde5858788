use super::Fault;
use crate::config_error::ConfigError;
use crate::destination::Destination;

/// The config of fault injection: the faults, the share of attempts that each one gets, and the destinations.
///
/// These are plain values. [`ChaosLayer::new`](super::ChaosLayer::new) checks them.
///
/// # Example
///
/// ```
/// use sevenhops::chaos::{ChaosLayer, Fault, ChaosConfig};
///
/// let config = ChaosConfig::new(1).inject(Fault::DropResponse, 0.7).inject(Fault::Silence, 0.4);
/// let refused = ChaosLayer::new(config).unwrap_err();
/// assert_eq!(refused.to_string(), "chaos.rate: 1.1 is invalid: expected a sum of all rates of at most 1");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ChaosConfig {
    pub(super) seed: u64,
    faults: Vec<(Fault, f64)>,
    pub(super) destinations: Vec<Destination>,
}

impl ChaosConfig {
    /// Creates a config without faults. The same seed gives the same sequence of faults.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            faults: Vec::new(),
            destinations: Vec::new(),
        }
    }

    /// Injects this fault into a share of the attempts, from 0 to 1. An attempt gets at most one fault, so the sum of
    /// all rates is at most 1.
    #[must_use]
    pub fn inject(mut self, fault: Fault, probability: f64) -> Self {
        self.faults.push((fault, probability));
        self
    }

    /// Injects faults only into requests to this destination. Call it again to add more destinations.
    #[must_use]
    pub fn destination(mut self, destination: Destination) -> Self {
        self.destinations.push(destination);
        self
    }

    /// Returns the seed.
    #[must_use]
    pub const fn get_seed(&self) -> u64 {
        self.seed
    }

    /// Returns the faults and their rates.
    #[must_use]
    pub fn get_faults(&self) -> &[(Fault, f64)] {
        &self.faults
    }

    /// Returns the destinations that faults are injected into. If there are none, all destinations get faults.
    #[must_use]
    pub fn get_destinations(&self) -> &[Destination] {
        &self.destinations
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let mut sum = 0.0;
        for (fault, rate) in &self.faults {
            fault.check()?;
            if !(0.0..=1.0).contains(rate) {
                return Err(ConfigError::invalid("chaos.rate", rate, "0 to 1"));
            }
            sum += rate;
        }
        if sum > 1.0 + ROUNDING {
            let expected = "a sum of all rates of at most 1";
            return Err(ConfigError::invalid("chaos.rate", sum, expected));
        }
        Ok(())
    }

    /// Returns the fault for a random number within [0, 1).
    pub(super) fn draw(&self, luck: f64) -> Option<Fault> {
        let mut sum = 0.0;
        let drawn = self.faults.iter().find(|(_, rate)| {
            sum += rate;
            luck < sum
        });
        drawn.map(|(fault, _)| *fault)
    }
}

/// 0.33 + 0.56 + 0.11 is a little more than 1.
const ROUNDING: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::super::Latency;
    use super::*;

    #[test]
    fn luck_is_cut_into_shares_of_the_rates() {
        let config = ChaosConfig::new(0)
            .inject(Fault::RefuseConnect, 0.25)
            .inject(Fault::BreakBody, 0.0)
            .inject(Fault::DropResponse, 0.5);
        for (luck, drawn) in [
            (0.0, Some(Fault::RefuseConnect)),
            (0.249, Some(Fault::RefuseConnect)),
            (0.25, Some(Fault::DropResponse)),
            (0.749, Some(Fault::DropResponse)),
            (0.75, None),
            (0.999, None),
        ] {
            assert_eq!(config.draw(luck), drawn, "{luck}");
        }
        assert_eq!(ChaosConfig::new(0).draw(0.0), None);
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name_and_value() {
        let minute = Duration::from_secs(60);
        let redirect = Fault::Respond {
            status: StatusCode::FOUND,
            retry_after: None,
        };
        let delay = Fault::Delay(Latency::between(minute, minute / 2));
        for (fault, rate, said) in [
            (
                Fault::Silence,
                -0.1,
                "chaos.rate: -0.1 is invalid: expected 0 to 1",
            ),
            (
                Fault::Silence,
                1.5,
                "chaos.rate: 1.5 is invalid: expected 0 to 1",
            ),
            (
                Fault::Silence,
                f64::NAN,
                "chaos.rate: NaN is invalid: expected 0 to 1",
            ),
            (
                redirect,
                0.1,
                "chaos.status: 302 is invalid: expected 400..=599",
            ),
            (
                delay,
                0.1,
                "chaos.latency.least: 60s is invalid: expected at most chaos.latency.most (30s)",
            ),
        ] {
            let refused = ChaosConfig::new(0).inject(fault, rate).check().unwrap_err();
            assert_eq!(refused.to_string(), said);
        }
        let whole = ChaosConfig::new(0)
            .inject(Fault::Silence, 0.33)
            .inject(Fault::DropResponse, 0.56)
            .inject(Fault::BreakBody, 0.11);
        assert!(whole.check().is_ok());
    }
}
