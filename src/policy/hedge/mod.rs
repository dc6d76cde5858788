//! Sends a slow call a second time, and takes the first success.

mod config;
mod decide;
mod latencies;
#[cfg(feature = "serde")]
mod serialize;
mod share;
mod state;

pub use self::config::HedgeConfig;
pub(crate) use self::decide::{Due, HedgeFacts, LatestAttempt, OtherAddress, decide, due};
pub(crate) use self::state::{HedgePolicy, HedgeState, HedgeStates};
