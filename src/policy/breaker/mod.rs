//! Rejects attempts that would probably fail, without sending them. Each destination has one circuit.

mod attempt;
mod cause;
mod check;
mod circuit;
mod config;
mod event;
mod handle;
mod health;
mod opened;
mod pending;
mod permit;
mod probes;
mod ramp;
mod rules;
#[cfg(feature = "serde")]
mod serialize;
mod shared;
mod snapshot;
mod state;
mod sync;
mod verdict;
mod watch;
mod window;

// The tests stand outside of the files, because a model checker includes those files by their path.
#[cfg(test)]
mod tests;

pub use self::config::CircuitBreakerConfig;
pub use self::event::{CircuitEvent, CircuitEventKind};
pub use self::handle::CircuitBreakerHandle;
pub(crate) use self::rules::CircuitRules;
pub use self::rules::{FailureWindow, Recovery};
pub use self::snapshot::CircuitSnapshot;
pub use self::state::CircuitState;
pub use self::watch::CircuitWatcher;

pub(crate) use self::attempt::Verdict;
pub(crate) use self::pending::PendingVerdict;
pub(crate) use self::permit::{Admission, CircuitBreakers, refused, settle};
pub(crate) use self::shared::{SharedCircuit, Ticket};
pub(crate) use self::verdict::{Allotted, Judge};
