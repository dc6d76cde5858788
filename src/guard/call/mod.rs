//! The whole call: its deadline, to the last byte of the body, its timeline and its span.

mod layer;

pub use self::layer::{CallLayer, CallService};
