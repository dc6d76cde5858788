//! The primitives of a record. They are named in one place, so that a model checker can replace them.

pub(super) use std::sync::atomic::{AtomicU32, Ordering};
