//! Sends no more requests than a rate allows. Each destination has one bucket.

mod config;
mod decide;
mod policy;
mod quota;
mod state;

pub use self::config::RateLimitConfig;
pub(crate) use self::policy::{Policy, RateLimit};
pub(crate) use self::state::Slot;
