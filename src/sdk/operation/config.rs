use std::time::Duration;

use crate::config_error::ConfigError;
use crate::getters::getters;
use crate::policy::breaker::CircuitBreakerConfig;
use crate::policy::retry::RetryConfig;
use crate::timeout::Timeouts;
use crate::timeout::TimeoutsConfig;

/// The config of an operation.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Operation, OperationConfig, RetryConfig};
///
/// let config = OperationConfig::new(Duration::from_secs(5))
///     .attempt(Duration::from_secs(1))
///     .retry(RetryConfig::new().attempts(5));
/// let orders = Operation::from_config("orders-db", config)?;
/// # drop(orders); Ok::<(), sevenhops::ConfigError>(())
/// ```
///
/// These are plain values. [`Operation::from_config`](super::Operation::from_config) checks them once, and refuses
/// values that are out of range or contradict each other. Its error names field and value.
///
/// # Defaults
///
/// | field | default |
/// |---|---|
/// | `attempt` | half of the deadline |
/// | `retry` | those of [`RetryConfig`]; `statuses` applies to calls of this crate inside |
/// | `circuit_breaker` | those of [`CircuitBreakerConfig`] |
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct OperationConfig {
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_forms::duration"))]
    deadline: Duration,
    #[cfg_attr(
        feature = "serde",
        serde(default, with = "crate::serde_forms::optional_duration")
    )]
    attempt: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) retry: RetryConfig,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) circuit_breaker: CircuitBreakerConfig,
}

impl OperationConfig {
    /// Creates a config with this deadline and the defaults for the rest.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            attempt: None,
            retry: RetryConfig::new(),
            circuit_breaker: CircuitBreakerConfig::new(),
        }
    }

    /// Sets the timeout of one attempt.
    #[must_use]
    pub fn attempt(mut self, timeout: Duration) -> Self {
        self.attempt = Some(timeout);
        self
    }

    /// Sets when an operation is retried, how often, and with which budget.
    #[must_use]
    pub fn retry(mut self, retry: RetryConfig) -> Self {
        self.retry = retry;
        self
    }

    /// Sets when the breaker rejects calls to a destination.
    #[must_use]
    pub fn circuit_breaker(mut self, circuit_breaker: CircuitBreakerConfig) -> Self {
        self.circuit_breaker = circuit_breaker;
        self
    }

    /// Returns the deadline.
    #[must_use]
    pub const fn get_deadline(&self) -> Duration {
        self.deadline
    }

    getters! {
        get_attempt(attempt) -> Option<Duration> = |own| own.attempt;
        get_retry(retry) -> &RetryConfig = |own| &own.retry;
        get_circuit_breaker(circuit_breaker) -> &CircuitBreakerConfig = |own| &own.circuit_breaker;
    }

    pub(super) fn check(&self) -> Result<Timeouts, ConfigError> {
        let mut timeouts = TimeoutsConfig::new();
        if let Some(attempt) = self.attempt {
            timeouts = timeouts.attempt(attempt);
        }
        let timeouts = Timeouts::from_config(self.deadline, timeouts)?;
        self.retry.check(Some(self.deadline))?;
        self.circuit_breaker.check(&timeouts)?;
        Ok(timeouts)
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<OperationConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_read_from_a_file_in_which_only_the_deadline_has_to_stand() {
        let config = OperationConfig::new(Duration::from_secs(10));
        assert_eq!(read(r#"{"deadline": "10s"}"#).as_ref(), Ok(&config));
        let all = config.attempt(Duration::from_secs(2));
        let all = all.retry(RetryConfig::new().attempts(5));
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(read(&json), Ok(all));
        assert!(read("{}").unwrap_err().contains("deadline"));
        let unknown = r#"{"deadline": "1s", "redirect": {}}"#;
        assert!(read(unknown).unwrap_err().contains("redirect"));
    }
}
