//! The service of every layer: one loop that runs a call from its beginning to its end, and policies that only decide.
//!
//! ```text
//! call:      begin: deadline, key
//!   leg:       redirect decides the next one
//!     attempt:   admit (throttle, breaker, concurrency, rate limit) → exchange, one timer → judge (breaker, budget)
//!                → hedge or retry decides: done, wait, again
//!   body:      received under its timeouts; the verdict settles at its last byte
//! end:       one diagnosis, one effect, one timeline; a stale response or a fallback may stand in for a failure
//! ```
//!
//! [`Driver`] is the service of every layer, [`DriverFuture`] its future, and [`DriverBody`] the body of its
//! response. A driver with [`Now`] sends once, and its service need not be `Clone`. A driver with [`Again`] may send
//! again, so its service is [`Clone`].

mod admit;
mod alarm;
mod attempt;
mod base;
mod body;
mod choice;
mod classify;
mod deliver;
mod drain;
mod draining;
mod endpoints;
mod exchange;
mod fallback;
mod future;
mod hedges;
mod hedging;
mod judge;
mod kept;
mod later;
mod legs;
mod load;
mod next_step;
mod passed;
mod peek;
mod policies;
mod recent;
mod refresh;
mod rejection;
mod resume;
mod retry_loop;
mod round;
mod run;
mod scope;
mod service;
mod source;
mod substitute;
mod tee;
mod timeouts;
mod whole;

pub use self::body::{DriverBody, Truncated};
pub use self::future::DriverFuture;
pub use self::later::{Again, Now, Once};
pub use self::refresh::RefreshFuture;
pub use self::service::{Driver, HttpResponse};

pub(crate) use self::base::Base;
pub(crate) use self::choice::Live;
pub(crate) use self::load::{Load, LoadConfigs, LoadRules};
pub(crate) use self::passed::Passed;
pub(crate) use self::policies::{Attempts, Deadline, Hedging, Policies};
#[cfg(feature = "client")]
pub(crate) use self::refresh::refresh;
pub(crate) use self::retry_loop::{Hint, RetryLoop};
pub(crate) use self::scope::Scope;

#[cfg(test)]
mod hedge_tests;
#[cfg(test)]
mod hint_tests;
#[cfg(test)]
mod unsent_tests;
