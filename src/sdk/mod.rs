//! Wrapping the SDK you have.

#[cfg(feature = "client")]
pub mod bare;
mod find;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "middleware")]
pub mod middleware;
pub mod operation;

pub use self::find::{Finding, find};
