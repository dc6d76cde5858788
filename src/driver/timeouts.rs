//! Decides which timeout expires next. Pure.

use tokio::time::Instant;

use crate::call::Follows;
use crate::clock::after;
use crate::hop::Stage;
use crate::timeout::{TimeoutKind, Timeouts};

/// The progress of an attempt, as its timeouts need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The open stage; `None` while the attempt waits for a connection.
    pub(super) stage: Option<Stage>,
    /// Whether the inner service reports stages.
    pub(super) tracked: bool,
    /// Whether a connection has taken the request.
    pub(super) taken: bool,
    /// When the open stage was entered.
    pub(super) entered: Instant,
    /// When the last byte of request or response moved.
    pub(super) moved: Instant,
    pub(super) sent_bytes: u64,
}

/// How long an attempt may last, and whether another one may follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: Instant,
    /// The deadline of the call.
    pub(super) deadline: Instant,
    pub(super) follows: Follows,
}

impl Span {
    /// Returns whether another attempt may follow if the attempt ended now. If the inner service reports nothing, the
    /// request counts as taken.
    pub(super) const fn may_follow(&self, progress: &Progress) -> bool {
        match progress.taken || !progress.tracked {
            true => self.follows.sent,
            false => self.follows.unsent,
        }
    }

    /// Returns when the attempt ends if no byte moves, and by which timeout. An explicit timeout counts from the start.
    /// A derived timeout only leaves time for another attempt, so time in which bytes move does not count.
    fn end(&self, progress: &Progress, timeouts: &Timeouts) -> (Instant, TimeoutKind) {
        let attempt = timeouts.attempt();
        let end = if timeouts.has_attempt() {
            after(self.start, attempt)
        } else if self.may_follow(progress) {
            after(self.start.max(progress.moved), attempt)
        } else {
            self.deadline
        };
        match end < self.deadline {
            true => (end, TimeoutKind::Attempt),
            false => (self.deadline, TimeoutKind::Deadline),
        }
    }
}

/// Returns the timeout that expires next if no byte moves, and when.
///
/// The timeouts of dns, connect and tls are not here. The transport applies those itself, because it may continue at
/// another address after a failed connect.
pub(super) fn due(progress: &Progress, timeouts: &Timeouts, span: &Span) -> (Instant, TimeoutKind) {
    let Progress { entered, moved, .. } = *progress;
    let end = span.end(progress, timeouts);
    let hop = match progress.stage {
        Some(Stage::Send) => (
            after(entered.max(moved), timeouts.send()),
            TimeoutKind::Send,
        ),
        Some(Stage::Wait) if progress.tracked => {
            let first_byte = after(entered, timeouts.first_byte_after(progress.sent_bytes));
            // Both timeouts have the same length, and the first byte counts from the later moment.
            if end.1 == TimeoutKind::Attempt
                && !timeouts.has_attempt()
                && !timeouts.has_first_byte()
            {
                return match first_byte < span.deadline {
                    true => (first_byte, TimeoutKind::FirstByte),
                    false => (span.deadline, TimeoutKind::Deadline),
                };
            }
            (first_byte, TimeoutKind::FirstByte)
        }
        Some(Stage::Receive) => (
            after(entered.max(moved), timeouts.body_idle()),
            TimeoutKind::BodyIdle,
        ),
        Some(Stage::Dns | Stage::Connect | Stage::Tls | Stage::Wait) | None => return end,
    };
    match hop.0 < end.0 || (hop.0 == end.0 && end.1 == TimeoutKind::Attempt) {
        true => hop,
        false => end,
    }
}

/// Returns when the attempt has to check its timeouts again, at the latest. A connection's own task takes the request,
/// ends the send stage and begins the wait without waking the attempt. So until the wait has begun, the attempt
/// checks before the end of a stage that began right now. `taken` are the timeouts once the request is taken.
pub(super) fn look_again(
    progress: &Progress,
    (timeouts, taken): (&Timeouts, &Timeouts),
    due: Instant,
    now: Instant,
) -> Instant {
    match progress.stage {
        Some(Stage::Wait | Stage::Receive) => due,
        _ => {
            let shortest = |timeouts: &Timeouts| timeouts.first_byte().min(timeouts.send());
            let shortest = shortest(timeouts).min(shortest(taken));
            due.min(after(now, shortest))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SEC: fn(u64) -> Duration = Duration::from_secs;
    const RETRIED: Follows = Follows {
        sent: true,
        unsent: true,
    };
    /// A POST without an honored key.
    const UNSENT: Follows = Follows {
        sent: false,
        unsent: true,
    };

    fn at(stage: Stage, start: Instant) -> Progress {
        Progress {
            stage: Some(stage),
            tracked: true,
            taken: matches!(stage, Stage::Send | Stage::Wait | Stage::Receive),
            entered: start,
            moved: start,
            sent_bytes: 0,
        }
    }

    fn timeouts() -> Timeouts {
        Timeouts::new(SEC(10)).unwrap()
    }

    fn alone() -> Timeouts {
        timeouts().for_attempt((SEC(10), SEC(10)), false)
    }

    fn with(config: crate::timeout::TimeoutsConfig) -> Timeouts {
        Timeouts::from_config(SEC(10), config).unwrap()
    }

    fn span(start: Instant, seconds: u64, follows: Follows) -> Span {
        Span {
            start,
            deadline: start + SEC(seconds),
            follows,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_stage_has_its_own_timeout() {
        let start = crate::clock::now();
        let span = span(start, 10, RETRIED);
        for (stage, expected) in [
            (Stage::Send, (SEC(5) / 2, TimeoutKind::Send)),
            (Stage::Wait, (SEC(5), TimeoutKind::FirstByte)),
            (Stage::Connect, (SEC(5), TimeoutKind::Attempt)),
            (Stage::Receive, (SEC(5), TimeoutKind::BodyIdle)),
        ] {
            let (at, which) = due(&at(stage, start), &timeouts(), &span);
            assert_eq!((at - start, which), expected, "{stage}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn moving_bytes_postpone_derived_timeouts() {
        let start = crate::clock::now();
        let mut sending = at(Stage::Send, start);
        sending.moved = start + SEC(7);
        let long = span(start, 60, RETRIED);
        let (until, which) = due(&sending, &timeouts(), &long);
        assert_eq!(
            (until - start, which),
            (SEC(7) + SEC(5) / 2, TimeoutKind::Send)
        );
        // Moving bytes postpone all derived timeouts, so a body that takes longer than the attempt timeout is sent
        // whole.
        let patient = with(crate::timeout::TimeoutsConfig::new().send(SEC(5)));
        let (until, which) = due(&sending, &patient, &long);
        assert_eq!((until - start, which), (SEC(12), TimeoutKind::Send));
        // They do not postpone an explicit timeout: it counts from the start.
        let set = with(
            crate::timeout::TimeoutsConfig::new()
                .attempt(SEC(8))
                .send(SEC(5)),
        );
        let (until, which) = due(&sending, &set, &long);
        assert_eq!((until - start, which), (SEC(8), TimeoutKind::Attempt));
        // They do not postpone the deadline.
        let (until, which) = due(&sending, &patient, &span(start, 10, RETRIED));
        assert_eq!((until - start, which), (SEC(10), TimeoutKind::Deadline));
    }

    #[tokio::test(start_paused = true)]
    async fn last_attempt_has_all_the_time_left() {
        let start = crate::clock::now();
        let span = span(start, 10, UNSENT);
        // Until a connection takes the POST, another attempt may send it.
        let (until, which) = due(&at(Stage::Connect, start), &timeouts(), &span);
        assert_eq!((until - start, which), (SEC(5), TimeoutKind::Attempt));
        let mut waiting = at(Stage::Wait, start + SEC(1));
        assert!(!span.may_follow(&waiting));
        let (until, which) = due(&waiting, &alone(), &span);
        assert_eq!((until - start, which), (SEC(10), TimeoutKind::Deadline));
        // A service that reports nothing may have sent the request from the start.
        (waiting.stage, waiting.tracked, waiting.taken) = (None, false, false);
        let (until, which) = due(&waiting, &alone(), &span);
        assert_eq!((until - start, which), (SEC(10), TimeoutKind::Deadline));
        // An explicit timeout applies to it, too.
        let set = with(crate::timeout::TimeoutsConfig::new().attempt(SEC(3)));
        let (until, which) = due(&waiting, &set, &span);
        assert_eq!((until - start, which), (SEC(3), TimeoutKind::Attempt));
    }

    #[tokio::test(start_paused = true)]
    async fn first_byte_timeout_counts_from_the_last_request_byte_and_the_kernels_buffer() {
        let start = crate::clock::now();
        let mut waiting = at(Stage::Wait, start + SEC(3));
        waiting.moved = start + SEC(3);
        let long = span(start, 60, RETRIED);
        let (until, which) = due(&waiting, &timeouts(), &long);
        assert_eq!((until - start, which), (SEC(8), TimeoutKind::FirstByte));
        // The derived attempt timeout does not come before the first byte timeout.
        waiting.sent_bytes = 4 << 20;
        let (until, which) = due(&waiting, &timeouts(), &long);
        assert_eq!(
            (until - start, which),
            (SEC(8) + SEC(5) / 2, TimeoutKind::FirstByte)
        );
        // An explicit one does, and so does a deadline.
        let set = with(crate::timeout::TimeoutsConfig::new().first_byte(SEC(1)));
        waiting.sent_bytes = 0;
        let (until, which) = due(&waiting, &set, &long);
        assert_eq!((until - start, which), (SEC(4), TimeoutKind::FirstByte));
        let (until, which) = due(&waiting, &timeouts(), &span(start, 4, RETRIED));
        assert_eq!((until - start, which), (SEC(4), TimeoutKind::Deadline));
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_that_sends_checks_its_timeouts_before_a_wait_could_expire() {
        let start = crate::clock::now();
        let timeouts = with(crate::timeout::TimeoutsConfig::new().first_byte(SEC(1)));
        let sending = at(Stage::Send, start);
        let far = start + SEC(5);
        let look = |progress, both| look_again(progress, both, far, start);
        assert_eq!(look(&sending, (&timeouts, &timeouts)), start + SEC(1));
        let waiting = at(Stage::Wait, start);
        assert_eq!(look(&waiting, (&timeouts, &timeouts)), far);
        // The same is true for a send that may have a shorter timeout than the connect, and the reverse.
        let (long, short) = (alone(), self::timeouts());
        let connecting = at(Stage::Connect, start);
        for both in [(&long, &short), (&short, &long)] {
            assert_eq!(look(&connecting, both), start + SEC(5) / 2);
        }
    }
}
