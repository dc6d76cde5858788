use std::time::Duration;

use super::state::{CircuitState, Counts};

/// The state and the window of a destination at one moment.
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{CircuitBreakerLayer, Timeouts};
///
/// let breaker = CircuitBreakerLayer::new(Timeouts::new(Duration::from_secs(10))?).breaker_handle();
/// // A destination without a request is unknown.
/// assert!(breaker.snapshot(&"https://api.test".parse()?).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitSnapshot {
    state: CircuitState,
    counts: Counts,
}

impl CircuitSnapshot {
    pub(super) const fn new(state: CircuitState, counts: Counts) -> Self {
        Self { state, counts }
    }

    /// Returns the state of the circuit.
    #[must_use]
    pub const fn state(&self) -> CircuitState {
        self.state
    }

    /// Returns how many attempts are in the window.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.counts.attempts
    }

    /// Returns how many of them failed. Overloads are not among them.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.counts.failures
    }

    /// Returns how many of them ended in a 503 without a hint. They count as failures only while less than 10 % of
    /// all attempts succeed.
    #[must_use]
    pub const fn overloads(&self) -> u32 {
        self.counts.overloaded
    }

    /// Returns how many of them were slow.
    #[must_use]
    pub const fn slow(&self) -> u32 {
        self.counts.slow
    }

    /// Returns how much longer the circuit stays open, if it is open.
    #[must_use]
    pub const fn open_left(&self) -> Option<Duration> {
        self.counts.open_left
    }
}
