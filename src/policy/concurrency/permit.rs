//! A permit for one attempt, and the wait for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::decide::Sample;
use super::state::Shared;
use crate::clock;
use crate::hop::short;

/// A permit for one attempt, to the last byte of its response. If it is dropped, the next call gets it.
#[derive(Debug)]
pub(crate) struct Permit {
    shared: Option<Arc<Shared>>,
    in_flight: u32,
    granted: Instant,
    /// Whether the attempt has begun.
    is_used: bool,
}

impl Permit {
    pub(super) fn new(shared: &Arc<Shared>, in_flight: u32, now: Instant) -> Self {
        Self {
            shared: Some(Arc::clone(shared)),
            in_flight,
            granted: now,
            is_used: false,
        }
    }

    /// Records that the attempt begins. The time for which an unused permit is held says nothing about the attempts.
    pub(crate) fn begin(&mut self) {
        self.is_used = true;
    }

    /// Learns from an attempt whose response head, or whose failure, came after `took`.
    pub(crate) fn learn(&self, took: Duration, is_overload: bool, now: Instant) {
        if let Some(shared) = &self.shared {
            let sample = Sample {
                took,
                in_flight: self.in_flight,
                is_overload,
            };
            shared.learn(sample, now);
        }
    }

    /// Drops it without giving it back.
    pub(super) fn forget(mut self) {
        self.shared = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            let now = clock::now();
            match self.is_used {
                true => shared.release(now.saturating_duration_since(self.granted), now),
                false => shared.give_back(now),
            }
        }
    }
}

/// The permit of a waiting call, once it is there.
pub(super) type Granted = oneshot::Receiver<Result<Permit, Rejection>>;

/// A call that waits for a permit. If it is dropped, it leaves the queue.
#[derive(Debug)]
pub(crate) struct Waiter {
    shared: Arc<Shared>,
    id: u64,
    turn: Granted,
    since: Instant,
    longest: Duration,
}

impl Waiter {
    pub(super) fn new(
        shared: &Arc<Shared>,
        (id, turn): (u64, Granted),
        (since, longest): (Instant, Duration),
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            id,
            turn,
            since,
            longest,
        }
    }

    /// Returns when the call gives up.
    pub(crate) fn until(&self) -> Instant {
        clock::after(self.since, self.longest)
    }

    /// Ready with the permit, or with the reason why there will be none.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Rejection>> {
        let turn = Pin::new(&mut self.turn).poll(cx);
        // The queue keeps the sender as long as this call waits.
        turn.map(|turn| turn.unwrap_or(Err(Rejection::Shed)))
    }

    /// Returns the reason of a call that has waited too long.
    pub(crate) fn expired(&self) -> Rejection {
        Rejection::TimedOut {
            longest: self.longest,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.leave(self.id);
    }
}

/// Why a call gets no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    Full {
        in_flight: u32,
        queued: usize,
    },
    TooLong {
        expected: Duration,
        longest: Duration,
    },
    /// A more important call took its place in the queue.
    Shed,
    TimedOut {
        longest: Duration,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full {
                in_flight,
                queued: 0,
            } => write!(f, "{in_flight} in flight, and there is no queue"),
            Self::Full { in_flight, queued } => {
                write!(
                    f,
                    "{in_flight} in flight, and the queue of {queued} is full"
                )
            }
            Self::TooLong { expected, longest } => write!(
                f,
                "the expected wait is {}, and the call waits for at most {}",
                short(*expected),
                short(*longest)
            ),
            Self::Shed => f.write_str("a more important call took its place in the queue"),
            Self::TimedOut { longest } => {
                write!(f, "no permit was free within {}", short(*longest))
            }
        }
    }
}

#[cfg(test)]
mod messages {
    const MS: fn(u64) -> std::time::Duration = std::time::Duration::from_millis;

    crate::messages_tests::list!(Rejection: super::Rejection::Full {
            in_flight: 10,
            queued: 0,
        },
        super::Rejection::Full {
            in_flight: 10,
            queued: 5,
        },
        super::Rejection::TooLong {
            expected: MS(250),
            longest: MS(100),
        },
        super::Rejection::Shed,
        super::Rejection::TimedOut { longest: MS(100) });
}
