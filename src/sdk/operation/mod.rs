//! The policies of a call around any async work: an SDK's call, a query, or a message to a queue.

mod attempt;
mod config;
mod error;
mod guards;
mod permit;
mod turn;

pub use self::attempt::OperationAttempt;
pub use self::config::OperationConfig;
pub use self::error::OperationError;
pub use self::guards::Operation;
