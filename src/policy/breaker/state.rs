//! The state of a circuit.

use std::time::Duration;

use super::cause::RejectionCause;

/// The state of a destination's circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// Lets every attempt through.
    Closed,
    /// Rejects every attempt until the open time is over. It then stays in this state until the next request.
    Open,
    /// Lets the probes through and rejects all other attempts.
    HalfOpen,
    /// Rejects every attempt until it is closed by hand.
    Isolated,
}

impl CircuitState {
    /// Returns the name of the state, as in metrics.
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

/// The state of a circuit at one generation. A later generation replaces an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) generation: u64,
    pub(crate) state: CircuitState,
    /// Why the circuit is open, and for how long; `None` if it is not open.
    pub(crate) opened: Option<(RejectionCause, Duration)>,
}

/// The counts of a circuit's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) attempts: u32,
    pub(crate) failures: u32,
    pub(crate) overloaded: u32,
    pub(crate) slow: u32,
    /// How much longer the circuit stays open.
    pub(crate) open_left: Option<Duration>,
}
