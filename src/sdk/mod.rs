//! Wrapping the SDK you have.

pub mod operation;
