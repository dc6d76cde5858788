//! Rejects attempts with a probability, while a destination rejects many of them as overload. Each destination has
//! one window.

mod config;
mod decide;
mod policy;
mod state;

pub use self::config::ThrottleConfig;
pub use self::policy::ThrottleHandle;
pub(crate) use self::policy::{Policy, Ticket};
