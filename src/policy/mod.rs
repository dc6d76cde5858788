//! The policies above the hops. They decide locally, and each of them is a layer of its own.
//!
//! Each policy is a folder with the same parts: its config, its pure decision, and its state for each destination.
//! Policies send nothing: [the driver](crate::driver) sends, and calls them. `driver/policies.rs` has their order, and
//! the reason for each position.

mod classify;
mod keyed;
mod latest;
mod rules;

pub mod breaker;
pub mod concurrency;
pub mod endpoints;
pub mod fallback;
pub mod hedge;
pub mod idempotency;
pub mod rate_limit;
pub mod redirect;
pub mod retry;
pub mod stale;
pub mod throttle;

pub(crate) use self::classify::{Classified, Classifier, Failure, is_overload};
pub(crate) use self::keyed::{DestinationKey, Subject, destination_key};
pub(crate) use self::latest::follow_latest;
pub(crate) use self::rules::{NamedRules, Versioned};
