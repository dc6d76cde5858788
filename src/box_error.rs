//! A boxed cause.

use std::error::Error as StdError;

/// A boxed cause.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;
