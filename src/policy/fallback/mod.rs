//! A fallback: a function of the error, whose response stands in for the failure.

mod policy;
mod replacement;

pub use self::replacement::Replacement;

pub(crate) use self::policy::{FallbackFuture, Policy};
