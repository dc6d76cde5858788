//! Picks the fault for the next request. All clones of a layer share this state.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use http::request::Parts;

use super::{ChaosConfig, Fault};
use crate::call::Call;
use crate::destination::Destination;
use crate::hop::TimelineEventKind;
use crate::record::tracker;
use crate::telemetry;

/// The fault for a request, and the delay of the response if the fault is a delay.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedFault {
    pub(super) fault: Fault,
    pub(super) delay: Option<Duration>,
}

/// Returns whether a request may get a fault.
pub(super) type When = dyn Fn(&Parts) -> bool + Send + Sync;

pub(super) struct FaultPlan {
    config: ChaosConfig,
    on: AtomicBool,
    injected: AtomicU64,
    next: Mutex<PlanState>,
}

struct PlanState {
    /// Queued faults come before random ones.
    queue: VecDeque<Fault>,
    luck: Rng,
}

impl FaultPlan {
    pub(super) fn new(config: ChaosConfig) -> Self {
        let luck = Rng::with_seed(config.seed);
        Self {
            config,
            on: AtomicBool::new(true),
            injected: AtomicU64::new(0),
            next: Mutex::new(PlanState {
                queue: VecDeque::new(),
                luck,
            }),
        }
    }

    pub(super) fn set_enabled(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(super) fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    pub(super) fn queue(&self, faults: impl IntoIterator<Item = Fault>) {
        let faults: Vec<_> = faults.into_iter().collect();
        self.next().queue.extend(faults);
    }

    /// Returns whether a request may get a fault.
    pub(super) fn is_meant(&self, head: &Parts, when: Option<&When>) -> bool {
        let destinations = &self.config.destinations;
        let there = || Destination::of(&head.uri).is_some_and(|to| destinations.contains(&to));
        (destinations.is_empty() || there()) && when.is_none_or(|when| when(head))
    }

    /// Draws the fault for the next request.
    pub(super) fn draw(&self) -> Option<PlannedFault> {
        let mut next = self.next();
        let queued = next.queue.pop_front();
        // Every request draws two numbers, whether it uses them or not. So the sequence depends on the seed alone.
        let (luck, lateness) = (next.luck.f64(), next.luck.f64());
        drop(next);
        let fault = queued.or_else(|| self.config.draw(luck))?;
        let delay = match fault {
            Fault::Delay(latency) => Some(latency.at(lateness)),
            _ => None,
        };
        Some(PlannedFault { fault, delay })
    }

    /// Reports the fault in the call's timeline, or in the current span if there is no call.
    pub(super) fn note(&self, call: Option<&Call>, drawn: PlannedFault) {
        self.injected.fetch_add(1, Ordering::Relaxed);
        let PlannedFault { fault, delay } = drawn;
        let what = TimelineEventKind::Chaos { fault, delay };
        match call {
            Some(call) => call.note_of(tracker::current(), what),
            None => telemetry::note(&telemetry::Span::current(), &what),
        }
    }

    fn next(&self) -> MutexGuard<'_, PlanState> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultPlan")
            .field("config", &self.config)
            .field("on", &self.is_enabled())
            .field("injected", &self.injected())
            .finish_non_exhaustive()
    }
}
