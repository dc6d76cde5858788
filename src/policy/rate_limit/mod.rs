//! Sends no more requests than a rate allows. Each destination has one bucket: of this process, or of a store that a
//! fleet shares.

mod asking;
mod config;
mod decide;
mod outage;
mod policy;
mod quota;
mod shared;
mod state;
mod store;

pub(crate) use self::asking::Asking;
pub use self::config::RateLimitConfig;
pub(crate) use self::policy::{Place, Policy, RateLimit, Waits, rejected};
pub use self::shared::{SharedRateLimit, SharedRateLimitConfig};
pub(crate) use self::state::Slot;
pub use self::store::{RateLimitStore, SlotDecision, SlotRequest, StoreFuture};
