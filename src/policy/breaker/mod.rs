//! Refuses attempts at once that would fail all the same: one circuit for each destination.

mod cause;
mod circuit;
mod handle;
mod permit;
mod probes;
mod rules;
mod settings;
mod shared;
mod state;
mod sync;
mod verdict;
mod watch;
mod window;
#[cfg(feature = "serde")]
mod written;

// Not inside their files: a model checker takes those in by their path.
#[cfg(test)]
mod tests;

pub use self::handle::Breaker;
pub use self::rules::Window;
pub use self::settings::Settings;
pub use self::state::State;
pub use self::watch::Watcher;

pub(crate) use self::circuit::Verdict;
pub(crate) use self::permit::{Admission, Key, PendingVerdict, Policy, refused, settle};
pub(crate) use self::shared::{Shared, Ticket};
pub(crate) use self::verdict::{Allotted, Judge};
