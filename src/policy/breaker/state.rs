//! Where a circuit stands.

use std::time::Duration;

use super::cause::Cause;

/// What a breaker does with a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Lets every attempt through.
    Closed,
    /// Refuses every attempt, until the open time is over and somebody asks.
    Open,
    /// Lets the probes through and refuses the rest.
    HalfOpen,
    /// Refuses every attempt until it is closed by hand.
    Isolated,
}

impl State {
    /// The word for it, as in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Isolated => "isolated",
        }
    }
}

/// Where a circuit stands: a later generation knows better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) generation: u64,
    pub(crate) state: State,
    /// While it is open: why, and for how long.
    pub(crate) opened: Option<(Cause, Duration)>,
}

/// What a circuit has seen lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) attempts: u32,
    pub(crate) failures: u32,
    pub(crate) overloaded: u32,
    pub(crate) slow: u32,
    /// How long it stays open yet.
    pub(crate) open_left: Option<Duration>,
}
