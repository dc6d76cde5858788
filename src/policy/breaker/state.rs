//! Where a circuit stands.

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
}
