//! Retries failed attempts if that is safe, useful and affordable.

mod account;
mod backoff;
mod bucket;
mod budget;
mod budgets;
mod config;
mod decide;
mod formula;
mod policy;
mod reserve;
#[cfg(feature = "serde")]
mod serialize;
mod shared;

pub(crate) use self::account::Account;
pub use self::backoff::{Backoff, Growth, Jitter};
pub use self::budget::Budget;
pub use self::budgets::Budgets;
pub use self::config::RetryConfig;
pub(crate) use self::decide::{FailedAttempt, Remaining, decide, is_transient};
pub(crate) use self::policy::{RetryPolicy, failed, may_pass};
pub(crate) use self::shared::{Payment, SharedBudget};
pub use super::classify::Failure;
pub use crate::replay::{BodyCloner, CloneBody, FnCloner, SentOnce, TraitCloner};
pub use crate::retry_after::ResponseHead;
