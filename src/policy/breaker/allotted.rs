//! How much time an attempt had.

use std::time::Duration;

use tokio::time::Instant;

use crate::call::Call;
use crate::limit::Waited;
use crate::record::Tracker;

/// The time that an attempt had, as a timeout is judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allotted {
    /// From its start to its end.
    pub(crate) time: Duration,
    /// The attempt timeout of its own layer, without what one request shortened; `None` where no layer
    /// of ours made the attempt.
    pub(crate) configured: Option<Duration>,
    /// Whether a hop's own timeout ran out that was set explicitly and not shortened.
    pub(crate) is_explicit: bool,
}

impl Allotted {
    /// Reads it from the call and its attempt, as far as that is known; `since` is when the attempt was
    /// let through, and `which` is what ran out.
    pub(super) fn of(
        (call, attempt): (&Call, Option<&Tracker>),
        since: Instant,
        which: Option<Waited>,
    ) -> Self {
        let start = attempt.map_or(since, Tracker::started);
        let to_deadline = call.deadline().saturating_duration_since(start);
        let limits = attempt.map(Tracker::limits);
        let time = match (which, limits) {
            // The attempt limit may be over at the head; the deadline holds to the last byte.
            (Some(Waited::Deadline), _) | (_, None) => to_deadline,
            (_, Some(limits)) => to_deadline.min(limits.attempt().get()),
        };
        let is_explicit = limits
            .zip(which)
            .is_some_and(|(l, which)| l.is_explicit(which));
        Self {
            time,
            configured: limits.map(|limits| limits.configured_attempt()),
            is_explicit,
        }
    }
}
