//! The policies of a call around any async work: an SDK's call, a query, or a message to a queue.

mod admit;
mod attempt;
mod builder;
mod config;
mod error;
mod permit;
mod run;

pub use self::attempt::OperationAttempt;
pub use self::builder::Operation;
pub use self::config::OperationConfig;
pub use self::error::OperationError;
