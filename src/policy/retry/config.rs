use std::time::Duration;

use http::StatusCode;
use http::header::HeaderName;

use super::{Backoff, Budget};
use crate::config_error::{ConfigError, expected};
use crate::destination::Destination;
use crate::getters::getters;

/// The config of retries: which failures are retried, how often, and after which wait.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::policy::retry::{Backoff, Budget};
/// use sevenhops::{RetryConfig, RetryLayer};
///
/// let config = RetryConfig::new()
///     .attempts(5)
///     .backoff(Backoff::new().cap(Duration::from_secs(2)))
///     .budget(Budget::new().ratio(0.1));
/// let layer = RetryLayer::new(config)?;
/// # drop(layer); Ok::<(), sevenhops::ConfigError>(())
/// ```
///
/// # Defaults
///
/// D is the time of the whole call, from its start to its deadline.
///
/// | field | default |
/// |---|---|
/// | `attempts` | 3 that were sent, the first included |
/// | `unsent_attempts` | 10 that provably were not sent |
/// | `backoff` | full jitter, base min(100ms, D / 50), cap 5s; after a 429 without a hint, base min(1s, D / 5) |
/// | `max_hint` | min(60s, D / 2) |
/// | `budget` | 20 % of the calls and 10 a second, over 10s |
/// | `statuses` | 408, 425, 429, 500, 502, 503, 504 |
/// | `should_retry_header` | none |
/// | `only_for` | every destination |
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct RetryConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    attempts: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    unsent_attempts: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    backoff: Option<Backoff>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    max_hint: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    budget: Option<Budget>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_statuses",
            skip_serializing_if = "Option::is_none"
        )
    )]
    statuses: Option<Vec<StatusCode>>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_text",
            skip_serializing_if = "Option::is_none"
        )
    )]
    should_retry_header: Option<HeaderName>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_texts",
            skip_serializing_if = "Option::is_none"
        )
    )]
    only_for: Option<Vec<Destination>>,
}

impl RetryConfig {
    /// Creates a config with all defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many attempts a call may send, the first included: 1 to 255.
    ///
    /// An attempt that provably was not sent (effect none, such as a refused connection or a failed lookup) does not
    /// count here. It counts against [`unsent_attempts`](Self::unsent_attempts).
    #[must_use]
    pub fn attempts(mut self, max: u32) -> Self {
        self.attempts = Some(max);
        self
    }

    /// Sets how many attempts of a call may end unsent: 1 to 255. With 1, the first attempt that cannot be
    /// sent is the last one.
    #[must_use]
    pub fn unsent_attempts(mut self, max: u32) -> Self {
        self.unsent_attempts = Some(max);
        self
    }

    /// Sets the wait before a retry.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Sets the longest server hint that a call waits for (`Retry-After` and similar headers): more than 0, at most a
    /// day.
    ///
    /// A longer hint ends the call at once. The caller finds it in
    /// [`Error::retry_after`](crate::Error::retry_after), or in the headers of the response.
    #[must_use]
    pub fn max_hint(mut self, longest: Duration) -> Self {
        self.max_hint = Some(longest);
        self
    }

    /// Sets how many of a destination's calls may be retried.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Sets the statuses that are retried, in place of the default ones: 400 to 599.
    #[must_use]
    pub fn statuses(mut self, statuses: impl Into<Vec<StatusCode>>) -> Self {
        self.statuses = Some(statuses.into());
        self
    }

    /// Sets a response header, such as `stripe-should-retry`, whose value (`true` or `false`) takes precedence over
    /// the status.
    #[must_use]
    pub fn should_retry_header(mut self, name: HeaderName) -> Self {
        self.should_retry_header = Some(name);
        self
    }

    /// Retries only calls to this destination. Call it again to add more destinations.
    #[must_use]
    pub fn only_for(mut self, destination: Destination) -> Self {
        self.only_for.get_or_insert_default().push(destination);
        self
    }

    getters! {
        get_attempts(attempts) -> u32 = |own| own.attempts.unwrap_or(ATTEMPTS);
        get_unsent_attempts(unsent_attempts) -> u32 = |own| own.unsent_attempts.unwrap_or(UNSENT_ATTEMPTS);
        get_backoff(backoff) -> &Backoff = |own| own.backoff.as_ref().unwrap_or(&DEFAULT_BACKOFF);
        get_budget(budget) -> Budget = |own| own.budget.unwrap_or_default();
        get_statuses(statuses) -> &[StatusCode] = |own| own.statuses.as_deref().unwrap_or(&STATUSES);
        get_should_retry_header(should_retry_header) -> Option<&HeaderName>
            = |own| own.should_retry_header.as_ref();
        get_only_for(only_for) -> &[Destination] = |own| own.only_for.as_deref().unwrap_or_default();
    }

    /// Returns [`max_hint`](Self::max_hint), as set or by default, in a call of this length.
    #[must_use]
    pub fn get_max_hint(&self, deadline: Duration) -> Duration {
        self.max_hint.unwrap_or_else(|| MAX_HINT.min(deadline / 2))
    }

    /// Returns whether this config has a budget of its own.
    pub(crate) const fn has_budget(&self) -> bool {
        self.budget.is_some()
    }

    /// Returns this config, with missing values taken from the surrounding config.
    pub(crate) fn over(self, around: &Self) -> Self {
        Self {
            attempts: self.attempts.or(around.attempts),
            unsent_attempts: self.unsent_attempts.or(around.unsent_attempts),
            backoff: self.backoff.or_else(|| around.backoff.clone()),
            max_hint: self.max_hint.or(around.max_hint),
            budget: self.budget.or(around.budget),
            statuses: self.statuses.or_else(|| around.statuses.clone()),
            should_retry_header: (self.should_retry_header)
                .or_else(|| around.should_retry_header.clone()),
            only_for: self.only_for.or_else(|| around.only_for.clone()),
        }
    }

    /// Returns this config with every default that does not depend on the deadline.
    pub(crate) fn written_out(&self) -> Self {
        Self {
            attempts: Some(self.get_attempts()),
            unsent_attempts: Some(self.get_unsent_attempts()),
            backoff: Some(self.get_backoff().clone()),
            max_hint: self.max_hint,
            budget: Some(self.get_budget()),
            statuses: Some(self.get_statuses().to_vec()),
            should_retry_header: self.should_retry_header.clone(),
            only_for: Some(self.get_only_for().to_vec()),
        }
    }

    /// Refuses values that are out of range, that contradict each other, or that contradict the deadline if there is
    /// one.
    pub(crate) fn check(&self, deadline: Option<Duration>) -> Result<(), ConfigError> {
        for (path, value) in [
            ("retry.attempts", self.get_attempts()),
            ("retry.unsent_attempts", self.get_unsent_attempts()),
        ] {
            expected::count(path, value, 1..=MOST_ATTEMPTS)?;
        }
        let failure = |status: &&StatusCode| !(400..600).contains(&status.as_u16());
        if let Some(status) = self.get_statuses().iter().find(failure) {
            let value = status.as_u16();
            return Err(ConfigError::invalid("retry.statuses", value, "400..=599"));
        }
        if let Some(longest) = self.max_hint {
            expected::wait("retry.max_hint", longest)?;
        }
        self.get_backoff().validate(deadline)?;
        self.get_budget().validate()
    }
}

/// The same as in AWS's SDKs and in Microsoft's standard handler.
const ATTEMPTS: u32 = 3;
/// With the default backoff, this many attempts bridge a restart of a few seconds.
const UNSENT_ATTEMPTS: u32 = 10;
static DEFAULT_BACKOFF: Backoff = Backoff::new();
/// More attempts than a caller waits for, and the most that one request can set.
const MOST_ATTEMPTS: u32 = u8::MAX as u32;
/// A caller waits this long for the call itself. A longer hint means an outage.
pub(super) const MAX_HINT: Duration = Duration::from_secs(60);
/// Transient statuses. 501 and 505 are not among them: they are about the request. 409 is retried only as "still in
/// progress", which the key decides.
const STATUSES: [StatusCode; 7] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_EARLY,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

#[cfg(test)]
mod tests {
    use super::super::Jitter;
    use super::super::backoff::{BASE, CAP, THROTTLED_BASE};
    use super::super::budget::BudgetKind;
    use super::*;

    #[test]
    fn table_of_defaults_says_what_they_are() {
        let doc = include_str!("config.rs");
        let config = RetryConfig::new();
        assert_eq!(config.get_backoff(), &Backoff::new().jitter(Jitter::Full));
        let BudgetKind::Rate(terms) = config.get_budget().0 else {
            panic!("{:?}", config.get_budget());
        };
        let statuses: Vec<_> = config.get_statuses().iter().map(|s| s.as_str()).collect();
        for row in [
            format!(
                "/// | `attempts` | {} that were sent, the first included |",
                config.get_attempts()
            ),
            format!(
                "/// | `unsent_attempts` | {} that provably were not sent |",
                config.get_unsent_attempts()
            ),
            format!("/// | `statuses` | {} |", statuses.join(", ")),
            format!(
                "/// | `backoff` | full jitter, base min({BASE:?}, D / 50), cap {CAP:?}; after a 429 without a \
                 hint, base min({THROTTLED_BASE:?}, D / 5) |"
            ),
            format!("/// | `max_hint` | min({MAX_HINT:?}, D / 2) |"),
            format!(
                "/// | `budget` | {:.0} % of the calls and {} a second, over {:?} |",
                terms.ratio * 100.0,
                terms.min_retries_per_second,
                terms.window
            ),
        ] {
            assert!(doc.contains(&row), "{row}");
        }
        assert!(config.check(None).is_ok());
    }
}
