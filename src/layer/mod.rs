//! The layers: each is [the driver](crate::driver) with one policy on, or with all of them.
//!
//! Each works alone in any tower stack over [`http::Request`]. Layers in the same stack find each other's call in the
//! request's extensions. A layer that finds no call begins one.

mod attempt;
mod breaker;
mod concurrency;
mod config_handle;
mod deadline;
mod fallback;
mod hedge;
mod idempotency;
mod rate_limit;
mod redirect;
mod retry;
mod stale;
mod standard;
mod throttle;

pub use self::attempt::{AttemptLayer, AttemptService};
pub use self::breaker::{CircuitBreakerLayer, CircuitBreakerService};
pub use self::concurrency::{ConcurrencyLayer, ConcurrencyService};
pub use self::config_handle::ConfigHandle;
pub use self::deadline::{DeadlineLayer, DeadlineService};
pub use self::fallback::{FallbackLayer, FallbackService};
pub use self::hedge::{HedgeLayer, HedgeService};
pub use self::idempotency::{IdempotencyLayer, IdempotencyService};
pub use self::rate_limit::{RateLimitLayer, RateLimitService};
pub use self::redirect::{RedirectLayer, RedirectService};
pub use self::retry::{RetryLayer, RetryService};
pub use self::stale::{StaleLayer, StaleService};
pub use self::standard::{StandardLayer, StandardService};
pub use self::throttle::{ThrottleLayer, ThrottleService};
