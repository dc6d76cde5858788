//! All settings of a stack in one value, so that they can be read from a file.

use std::time::Duration;

use crate::limit;
use crate::policy::{breaker, idempotency, redirect, retry};

/// The config of a whole stack: the deadline, and the settings of each policy.
///
/// Plain values: they are checked once, when a layer or a client is built. Values that are out of range or contradict
/// each other are refused there, with the names and values of the fields.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Settings, StandardLayer, policy::retry};
///
/// let settings = Settings::new(Duration::from_secs(10)).retry(retry::Settings::new().attempts(5));
/// let layer = StandardLayer::with(&settings)?;
/// # drop(layer);
/// # Ok::<(), sevenhops::SettingError>(())
/// ```
///
/// With the feature `serde` they can be read from a file. Only the deadline is required, and an unknown field is an
/// error:
///
/// ```
/// # #[cfg(feature = "serde")] {
/// let settings: sevenhops::Settings = serde_json::from_str(
///     r#"{
///         "deadline": "10s",
///         "limits": { "connect": "500ms" },
///         "retry": { "attempts": 5, "budget": { "ratio": 0.1 } },
///         "idempotency": { "honoured_by": ["https://api.stripe.com"] }
///     }"#,
/// ).unwrap();
/// # drop(settings); }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Settings {
    #[cfg_attr(feature = "serde", serde(with = "crate::file::duration"))]
    pub(crate) deadline: Duration,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) limits: limit::Settings,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) idempotency: idempotency::Settings,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) redirect: redirect::Settings,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) retry: retry::Settings,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) breaker: breaker::Settings,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) propagating: bool,
}

impl Settings {
    /// Creates settings with the defaults that are derived from the deadline of the whole call: 10 ms to 24 h.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            limits: limit::Settings::new(),
            idempotency: idempotency::Settings::new(),
            redirect: redirect::Settings::new(),
            retry: retry::Settings::new(),
            breaker: breaker::Settings::new(),
            propagating: false,
        }
    }

    /// Sets limits that are not derived from the deadline.
    #[must_use]
    pub fn limits(mut self, limits: limit::Settings) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how keys are made, and which servers honor them.
    #[must_use]
    pub fn idempotency(mut self, idempotency: idempotency::Settings) -> Self {
        self.idempotency = idempotency;
        self
    }

    /// Sets which redirects are followed.
    #[must_use]
    pub fn redirect(mut self, redirect: redirect::Settings) -> Self {
        self.redirect = redirect;
        self
    }

    /// Sets when a call is retried.
    #[must_use]
    pub fn retry(mut self, retry: retry::Settings) -> Self {
        self.retry = retry;
        self
    }

    /// Sets when calls to a destination are rejected.
    #[must_use]
    pub fn breaker(mut self, breaker: breaker::Settings) -> Self {
        self.breaker = breaker;
        self
    }

    /// Sets whether each attempt passes its number and the time left to the next process: see
    /// [`AttemptLayer::propagating`](crate::AttemptLayer::propagating).
    #[must_use]
    pub fn propagating(mut self, yes: bool) -> Self {
        self.propagating = yes;
        self
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;
    use crate::layer::StandardLayer;

    fn read(json: &str) -> Result<Settings, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let slow = Duration::from_secs(2);
        let settings = Settings::new(Duration::from_secs(10))
            .retry(retry::Settings::new().budget(retry::Budget::unlimited()))
            .breaker(
                breaker::Settings::new()
                    .slow_calls(slow, 0.5)
                    .window(breaker::Window::Count(100)),
            )
            .idempotency(
                idempotency::Settings::new().honoured_by("https://api.test".parse().unwrap()),
            );
        for settings in [Settings::new(slow), settings] {
            let json = serde_json::to_string(&settings).unwrap();
            assert_eq!(read(&json).as_ref(), Ok(&settings), "{json}");
        }
    }

    #[test]
    fn what_does_not_stand_in_the_file_is_the_default() {
        let settings = read(r#"{"deadline": "10s"}"#).unwrap();
        assert_eq!(settings, Settings::new(Duration::from_secs(10)));
        assert!(read("{}").unwrap_err().contains("deadline"));
    }

    #[test]
    fn unknown_field_is_refused_wherever_it_stands() {
        for (json, field) in [
            (r#"{"deadline": "1s", "x": 1}"#, "x"),
            (r#"{"deadline": "1s", "limits": {"x": 1}}"#, "x"),
            (r#"{"deadline": "1s", "retry": {"x": 1}}"#, "x"),
            (r#"{"deadline": "1s", "retry": {"backoff": {"x": 1}}}"#, "x"),
            (r#"{"deadline": "1s", "retry": {"budget": {"x": 1}}}"#, "x"),
            (r#"{"deadline": "1s", "breaker": {"x": 1}}"#, "x"),
            (
                r#"{"deadline": "1s", "breaker": {"window": {"x": 1}}}"#,
                "x",
            ),
            (r#"{"deadline": "1s", "idempotency": {"x": 1}}"#, "x"),
            (r#"{"deadline": "1s", "redirect": {"x": 1}}"#, "x"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(
                refused.contains("unknown") && refused.contains(field),
                "{refused}"
            );
        }
    }

    #[test]
    fn value_that_cannot_be_read_is_named() {
        for (json, value) in [
            (r#"{"deadline": "soon"}"#, "soon"),
            (
                r#"{"deadline": "1s", "retry": {"budget": {"unlimited": true, "ratio": 1}}}"#,
                "unlimited",
            ),
            (r#"{"deadline": "1s", "retry": {"statuses": [42]}}"#, "42"),
            (
                r#"{"deadline": "1s", "redirect": {"keep_across_origins": ["a b"]}}"#,
                "a b",
            ),
            (
                r#"{"deadline": "1s", "idempotency": {"honoured_by": ["api"]}}"#,
                "api",
            ),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(value), "{refused}");
        }
    }

    #[test]
    fn value_that_is_out_of_range_is_refused_when_the_stack_is_built() {
        for (json, said) in [
            (r#"{"deadline": "1ms"}"#, "deadline of 1ms"),
            (
                r#"{"deadline": "1s", "retry": {"attempts": 0}}"#,
                "retry attempts of 0",
            ),
            (
                r#"{"deadline": "1s", "retry": {"backoff": {"base": "6s"}}}"#,
                "back-off base of 6s is longer than the back-off cap of 5s",
            ),
            (
                r#"{"deadline": "1s", "breaker": {"slow_ratio": 7}}"#,
                "slow ratio of 7.0",
            ),
            (
                r#"{"deadline": "1s", "idempotency": {"header": "content-length"}}"#,
                "idempotency header of \"content-length\"",
            ),
            (
                r#"{"deadline": "1s", "breaker": {"failure_ratio": 2}}"#,
                "failure ratio of 2.0",
            ),
            (
                r#"{"deadline": "1s", "redirect": {"most": 0}}"#,
                "redirects of 0",
            ),
        ] {
            let refused = StandardLayer::with(&read(json).unwrap()).unwrap_err();
            assert!(refused.to_string().starts_with(said), "{refused}");
        }
    }
}
