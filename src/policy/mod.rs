//! The policies above the hops: local decisions, each of them a layer of its own.
//!
//! Each policy is a folder with the same cast: its settings, its pure decision, and the state that it keeps for a
//! destination. None of them sends anything: [the driver](crate::driver) sends, and asks them. Their order, and
//! the reason for each place, stand in `driver/policies.rs`.

mod classify;
mod keyed;
mod latest;

pub mod breaker;
pub mod idempotency;
pub mod redirect;
pub mod retry;

pub(crate) use self::classify::{Classified, Classifier, Failure};
pub(crate) use self::keyed::Key;
pub(crate) use self::latest::follow_latest;
