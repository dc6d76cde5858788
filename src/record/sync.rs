//! The primitives of a record. One place to name them, so that a model checker can put its own here.

pub(super) use std::sync::atomic::{AtomicU32, Ordering};
