//! The synchronization types of a lane. They are named in one place, so that a model checker can replace them.

pub(super) use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
