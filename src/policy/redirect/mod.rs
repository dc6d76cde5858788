//! Follows redirects. Each leg is a request of its own, with its own destination.

mod config;
mod next;

pub use self::config::RedirectConfig;

#[cfg(feature = "client")]
pub(crate) use self::next::unfollowed;
pub(crate) use self::next::{Asked, Leg, Rules, next, prune};
