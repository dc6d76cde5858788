//! The primitives that share a circuit between threads. They are in one place, so that a model checker can replace
//! them.

pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{Arc, Mutex, PoisonError};

pub(super) use super::opened::Opened;
pub(super) use super::watch::CircuitPublisher;
