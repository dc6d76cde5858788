//! Stale reads: the choice between consistency and availability, for each request and destination.
//!
//! The store keeps the last good response to each read. If a call fails, the policy decides whether that response
//! stands in for the failure. `http-cache-semantics` decides what may be stored and what matches (RFC 9111). The rules
//! of `stale-if-error` and `stale-while-revalidate` (RFC 5861) are in `decide.rs`.

mod config;
mod control;
mod decide;
mod policy;
mod recording;
mod refresh;
mod staleness;
mod store;
#[cfg(test)]
mod store_tests;
mod target;

pub use self::config::StaleConfig;
pub use self::staleness::Staleness;
pub use crate::consistency::Consistency;

pub(crate) use self::decide::stands_in_for;
pub(crate) use self::policy::{Found, Policy, StoreUse};
pub(crate) use self::recording::Recording;
pub(crate) use self::refresh::{IsRefresh, Refresh};
pub(crate) use self::store::Store;
