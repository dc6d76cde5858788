//! The error of a client or a layer that could not be built.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::box_error::BoxError;

/// A setting that was refused when a client or a layer was built. The error names the field and its value.
#[derive(Debug)]
pub struct SettingError(Reason);

#[derive(Debug)]
enum Reason {
    OutOfRange {
        field: &'static str,
        value: String,
        range: &'static str,
    },
    Contradiction {
        longer: (&'static str, Duration),
        than: (&'static str, Duration),
    },
    LessThan {
        less: (&'static str, String),
        than: (&'static str, String),
    },
    Failed {
        field: &'static str,
        source: BoxError,
    },
    #[cfg(feature = "client")]
    Refused { field: &'static str, why: String },
}

impl SettingError {
    pub(crate) fn out_of_range(
        field: &'static str,
        value: impl fmt::Debug,
        range: &'static str,
    ) -> Self {
        Self(Reason::OutOfRange {
            field,
            value: format!("{value:?}"),
            range,
        })
    }

    pub(crate) fn contradiction(
        longer: (&'static str, Duration),
        than: (&'static str, Duration),
    ) -> Self {
        Self(Reason::Contradiction { longer, than })
    }

    /// Returns the error for a field that is less than another one allows. The other is named with its article.
    pub(crate) fn less_than<T: fmt::Debug>(
        less: (&'static str, T),
        than: (&'static str, T),
    ) -> Self {
        Self(Reason::LessThan {
            less: (less.0, format!("{:?}", less.1)),
            than: (than.0, format!("{:?}", than.1)),
        })
    }

    #[cfg(feature = "client")]
    pub(crate) fn failed(field: &'static str, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        Self(Reason::Failed { field, source })
    }

    /// Returns the error for a setting that cannot be honored; `why` says what to do.
    #[cfg(feature = "client")]
    pub(crate) fn refused(field: &'static str, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self(Reason::Refused { field, why })
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::OutOfRange {
                field,
                value,
                range,
            } => write!(f, "{field} of {value} is not within {range}"),
            Reason::Contradiction { longer, than } => write!(
                f,
                "{} of {:?} is longer than the {} of {:?}",
                longer.0, longer.1, than.0, than.1
            ),
            Reason::LessThan { less, than } => write!(
                f,
                "{} of {} is less than {} of {}",
                less.0, less.1, than.0, than.1
            ),
            Reason::Failed { field, .. } => write!(f, "{field} cannot be used"),
            #[cfg(feature = "client")]
            Reason::Refused { field, why } => write!(f, "{field}: {why}"),
        }
    }
}

impl StdError for SettingError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            Reason::Failed { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
