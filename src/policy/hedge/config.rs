use std::time::Duration;

use crate::config_error::{ConfigError, expected};
use crate::getters::getters;

/// The config of hedges: when a call is sent a second time, how often, and where to.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Config, HedgeConfig, StandardLayer};
///
/// let config = Config::new(Duration::from_secs(10)).hedge(HedgeConfig::new());
/// let layer = StandardLayer::from_config(&config)?;
/// # drop(layer); Ok::<(), sevenhops::ConfigError>(())
/// ```
///
/// # Defaults
///
/// | field | default |
/// |---|---|
/// | `enabled` | yes, where there is a config of hedges |
/// | `quantile` | 0.95 of the response times of the destination and route, after 20 calls |
/// | `delay` | none; it replaces the quantile |
/// | `max_hedges` | 1 for each call |
/// | `same_address` | no |
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::serialize::Written"))]
#[cfg_attr(feature = "serde", serde(into = "super::serialize::Written"))]
pub struct HedgeConfig {
    pub(super) enabled: Option<bool>,
    pub(super) trigger: Option<Trigger>,
    pub(super) max_hedges: Option<u32>,
    pub(super) same_address: Option<bool>,
}

/// When a hedge follows the attempt before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trigger {
    /// After a fixed time.
    Delay(Duration),
    /// After the time within which this share of the attempts got its response.
    Quantile(f64),
}

impl HedgeConfig {
    /// Creates a config with all defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether calls are hedged. Use `false` in the config of a destination whose calls are not to be hedged.
    #[must_use]
    pub fn enabled(mut self, yes: bool) -> Self {
        self.enabled = Some(yes);
        self
    }

    /// Hedges an attempt after a fixed time: more than 0, and less than the deadline of the call. This replaces the
    /// quantile.
    ///
    /// The retry budget alone bounds these hedges. If a service becomes slower than the delay, every call is hedged as
    /// far as the budget allows.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.trigger = Some(Trigger::Delay(delay));
        self
    }

    /// Hedges an attempt that takes longer than this share of the attempts to the same destination and route: 0.5 to
    /// 0.999. This replaces the delay.
    ///
    /// Until 20 calls were seen, nothing is hedged. At most 5 % of the calls are hedged.
    #[must_use]
    pub fn quantile(mut self, quantile: f64) -> Self {
        self.trigger = Some(Trigger::Quantile(quantile));
        self
    }

    /// Sets how many hedges a call may send: 1 to 10. Each is an attempt, so it must be less than the number of
    /// attempts of the retries.
    #[must_use]
    pub fn max_hedges(mut self, most: u32) -> Self {
        self.max_hedges = Some(most);
        self
    }

    /// Sets whether a hedge may go to the address of the attempt that it hedges. By default it goes to another address
    /// of the destination, and a call to a destination with one address is not hedged.
    ///
    /// Use it if the address is that of a load balancer. Over a service that does not report its addresses, hedges do
    /// not depend on this.
    #[must_use]
    pub fn same_address(mut self, yes: bool) -> Self {
        self.same_address = Some(yes);
        self
    }

    getters! {
        get_enabled(enabled) -> bool = |own| own.enabled.unwrap_or(true);
        get_max_hedges(max_hedges) -> u32 = |own| own.max_hedges.unwrap_or(HEDGES);
        get_same_address(same_address) -> bool = |own| own.same_address.unwrap_or(false);
    }

    /// Returns [`delay`](Self::delay); `None` if a quantile counts.
    #[must_use]
    pub fn get_delay(&self) -> Option<Duration> {
        match self.trigger() {
            Trigger::Delay(delay) => Some(delay),
            Trigger::Quantile(_) => None,
        }
    }

    /// Returns [`quantile`](Self::quantile), as set or by default; `None` if a delay counts.
    #[must_use]
    pub fn get_quantile(&self) -> Option<f64> {
        match self.trigger() {
            Trigger::Delay(_) => None,
            Trigger::Quantile(quantile) => Some(quantile),
        }
    }

    pub(super) fn trigger(&self) -> Trigger {
        self.trigger.unwrap_or(Trigger::Quantile(QUANTILE))
    }

    /// Returns this config, with missing values taken from the surrounding config.
    pub(crate) fn over(self, around: &Self) -> Self {
        Self {
            enabled: self.enabled.or(around.enabled),
            trigger: self.trigger.or(around.trigger),
            max_hedges: self.max_hedges.or(around.max_hedges),
            same_address: self.same_address.or(around.same_address),
        }
    }

    /// Returns this config with every default written out.
    pub(crate) fn written_out(&self) -> Self {
        Self {
            enabled: Some(self.get_enabled()),
            trigger: Some(self.trigger()),
            max_hedges: Some(self.get_max_hedges()),
            same_address: Some(self.get_same_address()),
        }
    }

    /// Refuses values that are out of range.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        expected::count(MAX_HEDGES, self.get_max_hedges(), 1..=MOST_HEDGES)?;
        match self.trigger() {
            Trigger::Delay(delay) => expected::wait(DELAY, delay),
            Trigger::Quantile(quantile) if (0.5..=0.999).contains(&quantile) => Ok(()),
            Trigger::Quantile(quantile) => {
                let path = "hedge.quantile";
                Err(ConfigError::invalid(path, quantile, "0.5 to 0.999"))
            }
        }
    }

    /// Refuses values that the rest of the stack contradicts: a delay that the deadline ends, or more hedges than the
    /// retries have attempts.
    pub(crate) fn check_within(
        &self,
        deadline: Duration,
        attempts: u32,
    ) -> Result<(), ConfigError> {
        if !self.get_enabled() {
            return Ok(());
        }
        if let Trigger::Delay(delay) = self.trigger()
            && delay >= deadline
        {
            let expected = format_args!("less than deadline ({deadline:?})");
            return Err(ConfigError::invalid(DELAY, delay, expected));
        }
        let most = self.get_max_hedges();
        if most >= attempts {
            let expected = format_args!("less than retry.attempts ({attempts})");
            return Err(ConfigError::invalid(MAX_HEDGES, most, expected));
        }
        Ok(())
    }
}

const DELAY: &str = "hedge.delay";
const MAX_HEDGES: &str = "hedge.max_hedges";
/// One hedge removes most of the tail. Each further one doubles the load for less.
const HEDGES: u32 = 1;
/// More copies of one request would be an attack.
const MOST_HEDGES: u32 = 10;
/// Dean and Barroso, The Tail at Scale: about 5 % more load.
const QUANTILE: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::super::latencies::LEAST_CALLS;
    use super::super::share::PRICE;
    use super::*;

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn table_of_defaults_says_what_they_are() {
        let doc = include_str!("config.rs");
        let config = HedgeConfig::new();
        assert!(config.get_enabled() && !config.get_same_address());
        assert_eq!(config.get_delay(), None);
        for row in [
            format!(
                "/// | `quantile` | {QUANTILE} of the response times of the destination and route, after \
                 {LEAST_CALLS} calls |"
            ),
            format!(
                "/// | `max_hedges` | {} for each call |",
                config.get_max_hedges()
            ),
            format!(
                "Until {LEAST_CALLS} calls were seen, nothing is hedged. At most {} %",
                100 / PRICE
            ),
        ] {
            assert!(doc.contains(&row), "{row}");
        }
        assert!(config.check().is_ok());
        assert!(config.check_within(SECS(10), 3).is_ok());
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let config = HedgeConfig::new;
        for (config, expected) in [
            (
                config().max_hedges(0),
                "hedge.max_hedges: 0 is invalid: expected 1..=10",
            ),
            (
                config().max_hedges(11),
                "hedge.max_hedges: 11 is invalid: expected 1..=10",
            ),
            (
                config().quantile(0.49),
                "hedge.quantile: 0.49 is invalid: expected 0.5 to 0.999",
            ),
            (
                config().quantile(1.0),
                "hedge.quantile: 1.0 is invalid: expected 0.5 to 0.999",
            ),
            (
                config().quantile(f64::NAN),
                "hedge.quantile: NaN is invalid: expected 0.5 to 0.999",
            ),
            (
                config().delay(Duration::ZERO),
                "hedge.delay: 0ns is invalid: expected more than 0s, at most 86400s",
            ),
        ] {
            assert_eq!(config.check().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn contradictions_with_the_stack_are_refused_by_name() {
        let config = HedgeConfig::new;
        for (config, expected) in [
            (
                config().delay(SECS(10)),
                "hedge.delay: 10s is invalid: expected less than deadline (10s)",
            ),
            (
                config().max_hedges(3),
                "hedge.max_hedges: 3 is invalid: expected less than retry.attempts (3)",
            ),
        ] {
            let refused = config.check_within(SECS(10), 3).unwrap_err();
            assert_eq!(refused.to_string(), expected);
            assert!(config.enabled(false).check_within(SECS(10), 3).is_ok());
        }
        let most = config().delay(SECS(9)).max_hedges(2);
        assert!(most.check_within(SECS(10), 3).is_ok());
    }

    #[test]
    fn delay_and_quantile_replace_each_other() {
        let config = HedgeConfig::new().quantile(0.9).delay(SECS(1));
        assert_eq!(
            (config.get_delay(), config.get_quantile()),
            (Some(SECS(1)), None)
        );
        let part = HedgeConfig::new().quantile(0.99).over(&config);
        assert_eq!((part.get_delay(), part.get_quantile()), (None, Some(0.99)));
        assert_eq!(HedgeConfig::new().over(&config), config);
    }
}
