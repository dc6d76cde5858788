//! Which limit runs out next: pure.

use tokio::time::Instant;

use crate::clock::after;
use crate::hop::Stage;
use crate::limit::{Limits, Waited};

/// How far an attempt has come, as far as its limits are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// What is open; none while a connection is being waited for.
    pub(super) stage: Option<Stage>,
    /// Whether stages are reported at all.
    pub(super) tracked: bool,
    /// When the open stage was entered.
    pub(super) entered: Instant,
    /// When a byte of request or response moved last.
    pub(super) moved: Instant,
    pub(super) sent_bytes: u64,
}

/// The limit that runs out next if nothing moves, and when.
///
/// The limits of dns, connect and tls are not here: the transport keeps those itself, because a
/// failed connect may go on at another address.
pub(super) fn due(
    progress: &Progress,
    limits: &Limits,
    end: (Instant, Waited),
) -> (Instant, Waited) {
    let Progress { entered, moved, .. } = *progress;
    let hop = match progress.stage {
        Some(Stage::Send) => (after(entered.max(moved), limits.send().get()), Waited::Send),
        Some(Stage::Wait) if progress.tracked => (
            after(entered, limits.first_byte_after(progress.sent_bytes)),
            Waited::FirstByte,
        ),
        Some(Stage::Receive) => (
            after(entered.max(moved), limits.body_idle().get()),
            Waited::BodyIdle,
        ),
        Some(Stage::Dns | Stage::Connect | Stage::Tls | Stage::Wait) | None => return end,
    };
    if hop.0 < end.0 { hop } else { end }
}

/// When to look again, at the latest. A connection's own task takes the request, ends the send stage
/// and begins the wait without waking the attempt: so until the wait has begun, one looks before a
/// stage that began right now could be over.
pub(super) fn look_again(
    progress: &Progress,
    limits: &Limits,
    due: Instant,
    now: Instant,
) -> Instant {
    match progress.stage {
        Some(Stage::Wait | Stage::Receive) => due,
        _ => {
            let shortest = limits.first_byte().min(limits.send());
            due.min(after(now, shortest.get()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SEC: fn(u64) -> Duration = Duration::from_secs;

    fn at(stage: Stage, start: Instant) -> Progress {
        Progress {
            stage: Some(stage),
            tracked: true,
            entered: start,
            moved: start,
            sent_bytes: 0,
        }
    }

    fn limits() -> Limits {
        Limits::new(SEC(10)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn t6_each_stage_has_its_own_limit() {
        let start = crate::clock::now();
        let end = (start + SEC(5), Waited::Attempt);
        for (stage, expected) in [
            (Stage::Send, (start + SEC(5) / 2, Waited::Send)),
            (Stage::Wait, (start + SEC(4), Waited::FirstByte)),
            (Stage::Connect, end),
            (Stage::Receive, end),
        ] {
            assert_eq!(due(&at(stage, start), &limits(), end), expected, "{stage}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn t14_send_limit_starts_again_with_every_byte_that_moves() {
        let start = crate::clock::now();
        let end = (start + SEC(60), Waited::Attempt);
        let mut progress = at(Stage::Send, start);
        progress.moved = start + SEC(7);
        let expected = (start + SEC(7) + SEC(5) / 2, Waited::Send);
        assert_eq!(due(&progress, &limits(), end), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn t4_first_byte_limit_counts_from_the_last_request_byte() {
        let start = crate::clock::now();
        let end = (start + SEC(60), Waited::Attempt);
        let progress = at(Stage::Wait, start + SEC(3));
        assert_eq!(
            due(&progress, &limits(), end),
            (start + SEC(7), Waited::FirstByte)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nearest_of_attempt_and_hop_is_named() {
        let start = crate::clock::now();
        let end = (start + SEC(1), Waited::Deadline);
        assert_eq!(due(&at(Stage::Wait, start), &limits(), end), end);
    }

    #[tokio::test(start_paused = true)]
    async fn while_sending_the_wait_that_may_begin_is_not_overslept() {
        let start = crate::clock::now();
        let settings = crate::limit::Settings::new().first_byte(SEC(1));
        let limits = Limits::with(SEC(10), settings).unwrap();
        let sending = at(Stage::Send, start);
        let far = start + SEC(5);
        assert_eq!(look_again(&sending, &limits, far, start), start + SEC(1));
        let waiting = at(Stage::Wait, start);
        assert_eq!(look_again(&waiting, &limits, far, start), far);
    }
}
