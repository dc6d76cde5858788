//! The types that a lane is shared by, named in one place: a model checker puts its own here.

pub(super) use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
