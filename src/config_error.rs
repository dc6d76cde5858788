//! The error of a client or a layer that could not be built.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::box_error::BoxError;

/// A config that was refused when a client or a layer was built, or when a new config was loaded.
///
/// The message has the path of the field in a file, its value, and the expected values: `retry.attempts: 0 is
/// invalid: expected 1..=255`.
#[derive(Debug)]
pub struct ConfigError {
    /// The path of the field, as in a file.
    path: String,
    reason: ConfigProblem,
}

#[derive(Debug)]
enum ConfigProblem {
    Invalid { value: String, expected: String },
    Refused { why: String },
    Failed { source: BoxError },
}

impl ConfigError {
    /// Returns the error of a field whose value is not one of the expected ones.
    pub(crate) fn invalid(
        path: impl Into<String>,
        value: impl fmt::Debug,
        expected: impl fmt::Display,
    ) -> Self {
        Self {
            path: path.into(),
            reason: ConfigProblem::Invalid {
                value: format!("{value:?}"),
                expected: expected.to_string(),
            },
        }
    }

    /// Returns the error of a duration that is longer than another field allows.
    pub(crate) fn longer(
        (path, value): (impl Into<String>, Duration),
        (than, longest): (&str, Duration),
    ) -> Self {
        Self::invalid(path, value, format_args!("at most {than} ({longest:?})"))
    }

    /// Returns the error of a field that is less than another field requires.
    pub(crate) fn less<T: fmt::Debug>(
        (path, value): (impl Into<String>, T),
        (than, least): (&str, T),
    ) -> Self {
        Self::invalid(path, value, format_args!("at least {than} ({least:?})"))
    }

    /// Returns the error of a field whose value cannot be shown. The source has the reason.
    #[cfg(feature = "client")]
    pub(crate) fn failed(path: impl Into<String>, source: impl Into<BoxError>) -> Self {
        let (path, source) = (path.into(), source.into());
        Self {
            path,
            reason: ConfigProblem::Failed { source },
        }
    }

    /// Returns the error of a field that cannot be honored. `why` says what to do instead.
    pub(crate) fn refused(path: impl Into<String>, why: impl fmt::Display) -> Self {
        let (path, why) = (path.into(), why.to_string());
        Self {
            path,
            reason: ConfigProblem::Refused { why },
        }
    }

    /// Returns this error, with the path of the part of the config that contains the field.
    pub(crate) fn within(mut self, part: impl fmt::Display) -> Self {
        self.path = format!("{part}.{}", self.path);
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.reason {
            ConfigProblem::Invalid { value, expected } => {
                write!(f, "{path}: {value} is invalid: expected {expected}")
            }
            ConfigProblem::Refused { why } => write!(f, "{path}: {why}"),
            ConfigProblem::Failed { source } => write!(f, "{path} cannot be used: {source}"),
        }
    }
}

impl StdError for ConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.reason {
            ConfigProblem::Failed { source } => Some(&**source),
            ConfigProblem::Invalid { .. } | ConfigProblem::Refused { .. } => None,
        }
    }
}

/// Expected ranges that several configs share.
pub(crate) mod expected {
    use std::ops::RangeInclusive;
    use std::time::Duration;

    use super::ConfigError;

    /// The range of waits. The longest wait of this crate is a day.
    pub(crate) const WAIT: &str = "more than 0s, at most 86400s";

    /// Refuses a wait that is zero or longer than a day.
    pub(crate) fn wait(path: &str, value: Duration) -> Result<(), ConfigError> {
        match !value.is_zero() && value <= DAY {
            true => Ok(()),
            false => Err(ConfigError::invalid(path, value, WAIT)),
        }
    }

    /// Refuses a ratio that is zero, negative or more than 1.
    pub(crate) fn share(path: &str, value: f64) -> Result<(), ConfigError> {
        match value > 0.0 && value <= 1.0 {
            true => Ok(()),
            false => Err(ConfigError::invalid(path, value, "more than 0, at most 1")),
        }
    }

    /// Refuses a count that is out of range.
    pub(crate) fn count(
        path: &str,
        value: u32,
        range: RangeInclusive<u32>,
    ) -> Result<(), ConfigError> {
        if range.contains(&value) {
            return Ok(());
        }
        let (least, most) = range.into_inner();
        Err(match most {
            u32::MAX => ConfigError::invalid(path, value, format_args!("at least {least}")),
            _ => ConfigError::invalid(path, value, format_args!("{least}..={most}")),
        })
    }

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
}
