//! The verdict about an attempt whose response has begun well, until the end of its body.

use tokio::time::Instant;

use super::attempt::Verdict;
use super::permit::settle;
use super::shared::Ticket;
use super::verdict::{Allotted, Judge};
use crate::call::Call;
use crate::clock;
use crate::hop::{Diagnosis, Hop, Kind};
use crate::timeout::TimeoutKind;

/// A successful response head whose verdict waits for the end of the body. If it is dropped before that, it counts as
/// a success, unless the reader was waiting for more when the deadline passed.
pub(crate) struct PendingVerdict {
    pub(super) ticket: Option<Ticket>,
    /// Whether the head was slow.
    pub(super) is_slow: bool,
    pub(super) judge: Judge,
    pub(super) since: Instant,
    /// The number of attempts that the call had made before this one.
    pub(super) attempts_before: u32,
    pub(super) call: Call,
    pub(super) is_waiting: bool,
}

impl PendingVerdict {
    /// Records whether the reader waits for more of the body.
    pub(crate) fn wait_for_more(&mut self, waits: bool) {
        self.is_waiting = waits;
    }

    /// Settles the permit of a complete body.
    pub(crate) fn end(&mut self, now: Instant) {
        if let Some(ticket) = self.ticket.take() {
            let verdict = self.by_head(Verdict::Success);
            let record = || self.call.record_after(self.attempts_before);
            settle(ticket, verdict, (Some(&self.call), now), record);
        }
    }

    /// Marks the verdict as slow if the head was. The time of the body does not count: it depends on its length.
    fn by_head(&self, verdict: Verdict) -> Verdict {
        match self.is_slow {
            true => verdict.slow(),
            false => verdict,
        }
    }

    /// Settles the permit of a body that broke off.
    pub(crate) fn fail(&mut self, failed: &Diagnosis) {
        if let Some(ticket) = self.ticket.take() {
            let tracker = self.call.record_after(self.attempts_before);
            let allotted = || {
                Allotted::of(
                    (self.call.deadline(), tracker.as_deref()),
                    self.since,
                    failed.timeout_kind,
                )
            };
            let verdict = self.judge.judge(Some(failed), None);
            let verdict = self.judge.by_allotted(verdict, failed, allotted);
            let verdict = self.by_head(verdict);
            let at = (Some(&self.call), clock::now());
            settle(ticket, verdict, at, || tracker);
        }
    }
}

impl Drop for PendingVerdict {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        let now = clock::now();
        if self.is_waiting && self.call.deadline() <= now {
            self.fail(&Diagnosis {
                timeout_kind: Some(TimeoutKind::Deadline),
                ..Diagnosis::after_head(Hop::Receive, Kind::Timeout)
            });
        } else {
            self.end(now);
        }
    }
}
