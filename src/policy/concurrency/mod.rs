//! Bounds how many attempts are in flight, with a bounded queue. Each destination has one limit.

mod config;
mod decide;
mod permit;
mod policy;
mod queue;
mod state;

pub use self::config::ConcurrencyConfig;
pub use self::decide::Algorithm;
pub(crate) use self::permit::{Permit, Waiter};
pub(crate) use self::policy::{Admitted, Policy, rejected};
pub use self::policy::{ConcurrencyHandle, ConcurrencySnapshot};
