use std::time::Duration;

use super::decide::Rules;
use crate::config_error::{ConfigError, expected};
use crate::getters::getters;

/// The config of a throttle.
///
/// These are plain values. [`ThrottleLayer::new`](crate::ThrottleLayer::new) checks them.
///
/// # Example
///
/// ```
/// use sevenhops::{ThrottleConfig, ThrottleLayer};
///
/// let refused = ThrottleLayer::new(ThrottleConfig::new().multiplier(0.5)).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "throttle.multiplier: 0.5 is invalid: expected 1 to 100"
/// );
/// ```
///
/// # Defaults
///
/// | config | default |
/// |---|---|
/// | `enabled` | yes, where a config has this part |
/// | `multiplier` | 2 |
/// | `window` | 120s |
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ThrottleConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    enabled: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    multiplier: Option<f64>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    window: Option<Duration>,
}

impl ThrottleConfig {
    /// Creates a config with all defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            enabled: None,
            multiplier: None,
            window: None,
        }
    }

    /// Sets whether the throttle is on. `false` switches it off for a destination inside a config that has it on.
    #[must_use]
    pub const fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }

    /// Sets how many requests are sent for each accepted one, before some are rejected: 1 to 100.
    ///
    /// A smaller value spares the server more. A larger value notices sooner that the server accepts requests again.
    #[must_use]
    pub const fn multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = Some(multiplier);
        self
    }

    /// Sets how long an attempt counts: 1 s to 24 h.
    #[must_use]
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    getters! {
        get_enabled(enabled) -> bool = |own| own.enabled.unwrap_or(true);
        get_multiplier(multiplier) -> f64 = |own| own.multiplier.unwrap_or(MULTIPLIER);
        get_window(window) -> Duration = |own| own.window.unwrap_or(WINDOW);
    }

    /// Returns this config, with missing values taken from the surrounding config.
    pub(crate) fn over(self, around: &Self) -> Self {
        Self {
            enabled: self.enabled.or(around.enabled),
            multiplier: self.multiplier.or(around.multiplier),
            window: self.window.or(around.window),
        }
    }

    /// Returns this config with every default.
    pub(crate) fn written_out(&self) -> Self {
        Self {
            enabled: Some(self.get_enabled()),
            multiplier: Some(self.get_multiplier()),
            window: Some(self.get_window()),
        }
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            multiplier: self.get_multiplier(),
            window: self.get_window(),
        }
    }

    /// Refuses values that are out of range.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let (path, multiplier) = ("throttle.multiplier", self.get_multiplier());
        if !(1.0..=MOST_MULTIPLIER).contains(&multiplier) {
            return Err(ConfigError::invalid(path, multiplier, "1 to 100"));
        }
        let (path, window) = ("throttle.window", self.get_window());
        expected::wait(path, window)?;
        match window < SHORTEST_WINDOW {
            true => Err(ConfigError::invalid(path, window, "1s to 86400s")),
            false => Ok(()),
        }
    }
}

/// The value of Google's clients: the server still gets twice the requests that it accepts, so recovery is noticed
/// within one window.
const MULTIPLIER: f64 = 2.0;
/// Above it, the throttle rejects almost nothing.
const MOST_MULTIPLIER: f64 = 100.0;
/// Long enough to remember an overload between two bursts.
const WINDOW: Duration = Duration::from_secs(2 * 60);
/// A shorter window holds a few attempts only, and follows noise.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_defaults_shows_the_defaults() {
        let doc = include_str!("config.rs");
        for row in [
            format!("/// | `multiplier` | {MULTIPLIER} |"),
            format!("/// | `window` | {WINDOW:?} |"),
        ] {
            assert!(doc.contains(&row), "{row}");
        }
        assert!(ThrottleConfig::new().get_enabled());
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let config = ThrottleConfig::new;
        for (bad, expected) in [
            (
                config().multiplier(0.99),
                "throttle.multiplier: 0.99 is invalid: expected 1 to 100",
            ),
            (
                config().multiplier(f64::NAN),
                "throttle.multiplier: NaN is invalid: expected 1 to 100",
            ),
            (
                config().window(Duration::from_millis(999)),
                "throttle.window: 999ms is invalid: expected 1s to 86400s",
            ),
            (
                config().window(Duration::from_secs(86_401)),
                "throttle.window: 86401s is invalid: expected more than 0s, at most 86400s",
            ),
        ] {
            assert_eq!(bad.check().unwrap_err().to_string(), expected);
        }
        let edges = config().multiplier(1.0).window(Duration::from_secs(1));
        assert!(edges.check().is_ok());
    }

    #[test]
    fn part_of_a_config_replaces_single_values() {
        let around = ThrottleConfig::new().multiplier(3.0);
        let part = ThrottleConfig::new().enabled(false).over(&around);
        assert_eq!(part, around.enabled(false));
    }
}
