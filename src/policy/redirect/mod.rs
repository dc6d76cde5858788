//! Follows redirects. Each leg is a request of its own, with its own destination.

mod config;
mod decide;

pub use self::config::RedirectConfig;

#[cfg(feature = "client")]
pub(crate) use self::decide::unfollowed;
pub(crate) use self::decide::{HeaderRules, NextLeg, RedirectRequest, next, prune};
