//! What a circuit is shared by. One place to name it, so that a model checker can put its own here.

pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{Arc, Mutex, PoisonError};

pub(super) use super::opened::Opened;
pub(super) use super::watch::Watch;
