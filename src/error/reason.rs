//! Why a call failed, where the crate itself knows it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use crate::box_error::BoxError;
use crate::chain::chain;

/// The reason of a failure in words of this crate, which hold no secret. The error's sentence shows it.
#[derive(Debug)]
pub(crate) struct Reason(Cow<'static, str>);

impl Reason {
    #[cfg(feature = "client")]
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }
}

/// Writes the reason that stands in the chain of a cause, if there is one.
pub(super) fn write(f: &mut fmt::Formatter<'_>, source: Option<&BoxError>) -> fmt::Result {
    let mut causes = source.into_iter().flat_map(|source| chain(&**source));
    match causes.find_map(|cause| cause.downcast_ref::<Reason>()) {
        Some(reason) => write!(f, ": {reason}"),
        None => Ok(()),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Reason {}
