//! Causes that parts of this crate leave in an error's chain.

use std::error::Error as StdError;
use std::fmt;

use crate::box_error::BoxError;
use crate::limit::Waited;

/// A limit ran out below the attempt layer, in the connector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitExpired(pub(crate) Waited);

impl fmt::Display for LimitExpired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ran out", self.0)
    }
}

impl StdError for LimitExpired {}

/// The request body's own source failed.
#[derive(Debug)]
pub(crate) struct BodyFailed(pub(crate) BoxError);

impl fmt::Display for BodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of the request body failed")
    }
}

impl StdError for BodyFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}
