//! What a lane is shared by. One place to name it, so that a model checker can put its own here.

pub(super) use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
