use std::time::Duration;

use http::StatusCode;
use http::header::HeaderName;

use super::{Backoff, Budget};
use crate::config_error::SettingError;
use crate::destination::Destination;
use crate::limit::Limit;

/// When a call is repeated, how often, and how long it waits before.
///
/// # Defaults
///
/// D is the time of the whole call, from its start to its deadline.
///
/// | setting | default |
/// |---|---|
/// | `attempts` | 3 that were sent, the first included |
/// | `unsent_attempts` | 10 that provably were not sent |
/// | `backoff` | full jitter, base min(100ms, D / 50), cap 5s; after a 429 without a hint, base min(1s, D / 5) |
/// | `max_hint` | min(60s, D / 2) |
/// | `budget` | 20 % of the calls and 10 a second, over 10s |
/// | `statuses` | 408, 425, 429, 500, 502, 503, 504 |
/// | `should_retry_header` | none |
/// | `only` | every destination |
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Settings {
    pub(super) attempts: u32,
    pub(super) unsent_attempts: u32,
    pub(super) backoff: Backoff,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::optional_duration"))]
    pub(super) max_hint: Option<Duration>,
    pub(super) budget: Budget,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::statuses"))]
    pub(super) statuses: Vec<StatusCode>,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::optional_text"))]
    pub(super) should_retry_header: Option<HeaderName>,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::texts"))]
    pub(super) only: Vec<Destination>,
}

impl Settings {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many attempts a call may send, the first included: 1 to 255.
    ///
    /// An attempt that provably was not sent (effect none: a refused connection, a failed lookup) does not
    /// count here, but against [`unsent_attempts`](Self::unsent_attempts).
    #[must_use]
    pub fn attempts(mut self, most: u32) -> Self {
        self.attempts = most;
        self
    }

    /// Sets how many attempts of a call may end unsent: 1 to 255. With 1, the first attempt that cannot be
    /// sent is the last one.
    #[must_use]
    pub fn unsent_attempts(mut self, most: u32) -> Self {
        self.unsent_attempts = most;
        self
    }

    /// Sets how long a repeat waits.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets the longest hint that a call waits for (`Retry-After` and its kind): more than 0, at most a day.
    ///
    /// A longer hint ends the call at once. The caller finds it in
    /// [`Error::retry_after`](crate::Error::retry_after), or in the headers of the response.
    #[must_use]
    pub fn max_hint(mut self, longest: Duration) -> Self {
        self.max_hint = Some(longest);
        self
    }

    /// Sets how many of a destination's calls may be repeated.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Repeats after these statuses and no others: 400 to 599.
    #[must_use]
    pub fn statuses(mut self, statuses: impl Into<Vec<StatusCode>>) -> Self {
        self.statuses = statuses.into();
        self
    }

    /// Believes this header of an answer, `true` or `false`, more than its status:
    /// `stripe-should-retry`.
    #[must_use]
    pub fn should_retry_header(mut self, name: HeaderName) -> Self {
        self.should_retry_header = Some(name);
        self
    }

    /// Repeats calls to this destination, and to others only if they are named too.
    #[must_use]
    pub fn only(mut self, destination: Destination) -> Self {
        self.only.push(destination);
        self
    }

    pub(crate) fn check(&self) -> Result<(), SettingError> {
        for (field, value) in [
            ("retry attempts", self.attempts),
            ("retry unsent attempts", self.unsent_attempts),
        ] {
            if !(1..=MOST_ATTEMPTS).contains(&value) {
                return Err(SettingError::out_of_range(field, value, "1 to 255"));
            }
        }
        let failure = |status: &&StatusCode| !(400..600).contains(&status.as_u16());
        if let Some(status) = self.statuses.iter().find(failure) {
            let value = status.as_u16();
            return Err(SettingError::out_of_range(
                "retry status",
                value,
                "400 to 599",
            ));
        }
        if let Some(longest) = self.max_hint {
            Limit::new(longest).map_err(|_| {
                let range = "0s (not included) to 86400s";
                SettingError::out_of_range("retry max hint", longest, range)
            })?;
        }
        self.backoff.validate()?;
        self.budget.validate()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            attempts: ATTEMPTS,
            unsent_attempts: UNSENT_ATTEMPTS,
            backoff: Backoff::new(),
            max_hint: None,
            budget: Budget::new(),
            statuses: STATUSES.to_vec(),
            should_retry_header: None,
            only: Vec::new(),
        }
    }
}

/// AWS's SDKs make as many, and so does Microsoft's standard handler.
const ATTEMPTS: u32 = 3;
/// With the default back-off they bridge a restart of a few seconds.
const UNSENT_ATTEMPTS: u32 = 10;
/// More than anybody waits for, and what one request can ask for.
const MOST_ATTEMPTS: u32 = u8::MAX as u32;
/// The longest wait that a caller takes for the call itself, not for an outage.
pub(super) const MAX_HINT: Duration = Duration::from_secs(60);
/// What passes by itself. Not 501 and 505: they are about the request; 409 only as "still in
/// progress", which is decided by the key.
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
    use super::super::budget::Kind;
    use super::*;

    #[test]
    fn table_of_defaults_says_what_they_are() {
        let doc = include_str!("settings.rs");
        let settings = Settings::new();
        assert_eq!(settings.backoff, Backoff::new().jitter(Jitter::Full));
        let Kind::Rate(terms) = settings.budget.0 else {
            panic!("{:?}", settings.budget);
        };
        let statuses: Vec<_> = settings.statuses.iter().map(|s| s.as_str()).collect();
        for row in [
            format!(
                "/// | `attempts` | {} that were sent, the first included |",
                settings.attempts
            ),
            format!(
                "/// | `unsent_attempts` | {} that provably were not sent |",
                settings.unsent_attempts
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
                terms.at_least_per_second,
                terms.over
            ),
        ] {
            assert!(doc.contains(&row), "{row}");
        }
        assert!(settings.check().is_ok());
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name_and_value() {
        for (settings, refused) in [
            (
                Settings::new().attempts(0),
                "retry attempts of 0 is not within 1 to 255",
            ),
            (
                Settings::new().attempts(256),
                "retry attempts of 256 is not within 1 to 255",
            ),
            (
                Settings::new().unsent_attempts(0),
                "retry unsent attempts of 0 is not within 1 to 255",
            ),
            (
                Settings::new().max_hint(Duration::ZERO),
                "retry max hint of 0ns is not within 0s (not included) to 86400s",
            ),
            (
                Settings::new().statuses([StatusCode::OK]),
                "retry status of 200 is not within 400 to 599",
            ),
        ] {
            assert_eq!(settings.check().unwrap_err().to_string(), refused);
        }
    }
}
