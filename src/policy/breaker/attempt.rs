//! One attempt, from the circuit's point of view: the permit before it, and the verdict after it.

use std::time::Duration;

use tokio::time::Instant;

use super::cause::{FailureSite, RejectionCause};
use super::window::Mark;

/// Permission to make one attempt.
#[must_use = "an unsettled permit does not count"]
#[derive(Debug)]
pub(crate) struct Permit {
    pub(super) generation: u64,
    pub(super) kind: PermitKind,
}

/// The purpose of a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PermitKind {
    /// An attempt that a circuit in normal operation permits.
    Usual,
    /// A probe, by its place among the probes of its generation.
    Probe(u64),
    /// An attempt that the circuit would have rejected. Its verdict is only recorded.
    Observed,
}

impl Permit {
    /// Returns the permit of a closed circuit.
    pub(crate) fn of(generation: u64) -> Self {
        Self {
            generation,
            kind: PermitKind::Usual,
        }
    }

    /// Returns the number of the probe, if this is one.
    pub(super) fn probe(&self) -> Option<u64> {
        match self.kind {
            PermitKind::Probe(id) => Some(id),
            PermitKind::Usual | PermitKind::Observed => None,
        }
    }

    pub(crate) fn is_probe(&self) -> bool {
        self.probe().is_some()
    }
}

/// How an attempt ended, from the point of view of the destination's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The destination worked, whatever the status.
    Success,
    /// The destination worked, and took too long.
    Slow,
    /// The destination failed.
    Failure(CountedFailure),
    /// The destination asked for fewer requests. That opens no circuit. It closes a half-open one, because the
    /// destination is up.
    Throttled,
    /// The attempt says nothing about the destination.
    Ignored,
}

impl Verdict {
    /// Returns the wait that the server asked for.
    pub(super) fn hint(&self) -> Option<Duration> {
        match self {
            Self::Failure(failed) => failed.hint,
            Self::Success | Self::Slow | Self::Throttled | Self::Ignored => None,
        }
    }

    /// Returns the same verdict about an attempt that also took too long.
    pub(super) fn slow(self) -> Self {
        match self {
            Self::Success => Self::Slow,
            Self::Failure(failed) => Self::Failure(CountedFailure {
                is_slow: true,
                ..failed
            }),
            Self::Slow | Self::Throttled | Self::Ignored => self,
        }
    }

    /// Returns the mark for the window of a closed circuit.
    pub(super) fn mark(&self) -> Option<Mark> {
        let (mark, is_slow) = match self {
            Self::Success => (Mark::SUCCESS, false),
            Self::Slow => (Mark::SUCCESS, true),
            Self::Failure(failed) => match failed.weight {
                Weight::Always => (Mark::failure(failed.failure.hop), failed.is_slow),
                Weight::IfDown => (Mark::OVERLOADED, failed.is_slow),
                Weight::Never => return None,
            },
            Self::Throttled | Self::Ignored => return None,
        };
        Some(mark.slow(is_slow))
    }
}

/// A failure, and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CountedFailure {
    pub(crate) failure: FailureSite,
    /// The wait that the server asked for.
    pub(crate) hint: Option<Duration>,
    /// Whether it also took too long.
    pub(crate) is_slow: bool,
    pub(crate) weight: Weight,
}

/// When a failure counts. In a half-open circuit every failure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Always,
    /// Only while almost nothing succeeds. A 503 without a hint may mean "overloaded" or "down".
    IfDown,
    /// Not in a closed circuit. A 503 with a hint asks the client to wait.
    Never,
}

/// The time of a verdict, and a random number in `[0, 1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) luck: f64,
}

/// The circuit rejects the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The time until the circuit may let an attempt through. `None` if only a call of `close` can end the rejection.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) cause: RejectionCause,
}
