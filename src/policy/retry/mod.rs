//! Retries failed attempts, where that is safe, worth it and affordable.

mod account;
mod backoff;
mod bucket;
mod budget;
mod decide;
mod formula;
mod policy;
mod settings;

pub(crate) use self::account::Account;
pub use self::backoff::{Backoff, Growth, Jitter};
pub(crate) use self::bucket::SharedBudget;
pub use self::budget::Budget;
pub(crate) use self::decide::{Failed, Left, decide};
pub use self::policy::Failure;
pub(crate) use self::policy::{Policy, failed};
pub use self::settings::Settings;
pub use crate::hint::ResponseHead;
pub use crate::replay::{BodyCloner, ByFn, ByTrait, CloneBody};
