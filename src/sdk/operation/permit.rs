use tokio::time::Instant;

use super::error::FailedWork;
use crate::clock;
use crate::driver::Passed;
use crate::hop::{Diagnosis, Retryability};
use crate::policy::breaker::{Allotted, Judge, Ticket, Verdict, settle};
use crate::timeout::TimeoutKind;

/// A circuit's permission to make one attempt. A permit that is dropped before it is settled counts as a timeout if the
/// attempt had used its time. Otherwise it does not count.
pub(super) struct OperationPermit {
    /// `None` after the ticket was settled.
    pub(super) ticket: Option<Ticket>,
    pub(super) judge: Judge,
    pub(super) since: Instant,
    /// When the attempt must be over.
    pub(super) ends: Instant,
    /// The parts that it holds of the policies for the load of its destination.
    pub(super) passed: Option<Passed>,
}

impl OperationPermit {
    pub(super) fn succeed(mut self) {
        let took = || clock::now().saturating_duration_since(self.since);
        let verdict = self.judge.by_time(Verdict::Success, took);
        self.settle(verdict);
        if let Some(passed) = self.passed.take() {
            passed.succeed();
        }
    }

    pub(super) fn fail(mut self, failure: &FailedWork) {
        let class = failure.class.unwrap_or(Retryability::Transient);
        let verdict = (self.judge).judge_operation(&failure.diagnosis, class, failure.retry_after);
        let took = || clock::now().saturating_duration_since(self.since);
        let verdict = self.judge.by_time(verdict, took);
        self.settle(self.by_time_given(verdict, &failure.diagnosis));
        if let Some(passed) = self.passed.take() {
            let had_its_time = self.judge.is_patient(&self.allotted());
            passed.fail(
                &failure.diagnosis,
                (None, failure.retry_after),
                had_its_time,
            );
        }
    }

    /// Ignores a timeout if the attempt had less time than configured: it does not show that the destination is
    /// unhealthy.
    fn by_time_given(&self, verdict: Verdict, failed: &Diagnosis) -> Verdict {
        self.judge.by_allotted(verdict, failed, || self.allotted())
    }

    fn allotted(&self) -> Allotted {
        Allotted {
            time: self.ends.saturating_duration_since(self.since),
            configured: None,
            is_explicit: false,
        }
    }

    fn settle(&mut self, verdict: Verdict) {
        if let Some(ticket) = self.ticket.take() {
            settle(ticket, verdict, (None, clock::now()), || None);
        }
    }
}

impl Drop for OperationPermit {
    fn drop(&mut self) {
        // The attempt had its configured time, even if it was given more.
        if self.judge.ends(self.since).min(self.ends) <= clock::now() {
            let expired = Diagnosis::out_of_time(TimeoutKind::Attempt);
            let verdict = (self.judge).judge_operation(&expired, Retryability::Transient, None);
            let took = || clock::now().saturating_duration_since(self.since);
            let verdict = self.judge.by_time(verdict, took);
            self.settle(self.by_time_given(verdict, &expired));
        }
    }
}
