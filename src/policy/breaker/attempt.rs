//! One attempt, as its circuit sees it: the permit before, and the verdict after.

use std::time::Duration;

use tokio::time::Instant;

use super::cause::{Cause, Failure};
use super::window::Mark;

/// Leave to make one attempt.
#[must_use = "an unsettled permit teaches the circuit nothing"]
#[derive(Debug)]
pub(crate) struct Permit {
    pub(super) generation: u64,
    pub(super) kind: Kind,
}

/// The purpose of a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An attempt that the circuit lets through.
    Usual,
    /// A probe, by its place among the probes of its generation.
    Probe(u64),
    /// An attempt that the circuit would have rejected, and only observes.
    Observed,
}

impl Permit {
    /// Leave that a closed circuit gives.
    pub(crate) fn of(generation: u64) -> Self {
        Self {
            generation,
            kind: Kind::Usual,
        }
    }

    /// The place of a probe.
    pub(super) fn probe(&self) -> Option<u64> {
        match self.kind {
            Kind::Probe(id) => Some(id),
            Kind::Usual | Kind::Observed => None,
        }
    }

    pub(crate) fn is_probe(&self) -> bool {
        self.probe().is_some()
    }
}

/// How an attempt ended, as far as the destination's health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The destination did its part, whatever the status.
    Success,
    /// It did, and took too long.
    Slow,
    /// It failed us.
    Failure(Failed),
    /// It asks for fewer requests. That breaks no circuit, and closes a half-open one: the destination is there.
    Throttled,
    /// This says nothing about the destination.
    Ignored,
}

impl Verdict {
    /// When the server wants to be asked again.
    pub(super) fn hint(&self) -> Option<Duration> {
        match self {
            Self::Failure(failed) => failed.hint,
            Self::Success | Self::Slow | Self::Throttled | Self::Ignored => None,
        }
    }

    /// Its mark in the window of a closed circuit.
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

/// A failure, and how it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// When the server wants to be asked again.
    pub(crate) hint: Option<Duration>,
    /// It took too long, too.
    pub(crate) is_slow: bool,
    pub(crate) weight: Weight,
}

/// When a failure counts. In a half-open circuit every failure does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Always,
    /// Only where next to nothing succeeds: a 503 without a hint may say "overloaded" or "down".
    IfDown,
    /// Not in a closed circuit: a 503 with a hint asks for patience.
    Never,
}

/// When a verdict is given, and with what luck: a number in `[0, 1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) luck: f64,
}

/// The circuit does not let an attempt through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The time until the reason is gone; none if only a hand can end it.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) cause: Cause,
}
