//! Repeats what failed, where that is safe, worth it and affordable.

mod account;
mod backoff;
mod body;
mod bucket;
mod budget;
mod decide;
mod future;
mod layer;
mod policy;
mod settings;
mod turn;

pub(crate) use self::account::Account;
pub use self::backoff::{Backoff, Jitter};
pub use self::body::{RetryBody, Truncated};
pub use self::budget::Budget;
pub(crate) use self::decide::{Failed, Left, decide};
pub use self::future::ResponseFuture;
pub use self::layer::{RetryLayer, RetryService};
pub use self::policy::Failure;
pub(crate) use self::policy::Policy;
pub use self::settings::Settings;
pub use crate::replay::{ByFn, ByFns, ByTrait, Copies, Empties, Replay};
