use tokio::time::Instant;

use super::failed::Told;
use crate::clock;
use crate::hop::{Class, Diagnosis};
use crate::limit::Waited;
use crate::policy::breaker::{Allotted, Judge, Ticket, Verdict, settle};

/// A circuit's leave to make one attempt. Dropped before it is settled, it is judged by whether the
/// attempt had its time.
pub(super) struct Permit {
    /// None where nobody judges.
    pub(super) ticket: Option<Ticket>,
    pub(super) judge: Judge,
    pub(super) since: Instant,
    /// When the attempt has to be over.
    pub(super) ends: Instant,
}

impl Permit {
    pub(super) fn succeed(mut self) {
        let took = || clock::now().saturating_duration_since(self.since);
        let verdict = self.judge.by_time(Verdict::Success, took);
        self.settle(verdict);
    }

    pub(super) fn fail(mut self, told: &Told) {
        let class = told.class.unwrap_or(Class::Passing);
        let verdict = (self.judge).judge_operation(&told.diagnosis, class, told.retry_after);
        let took = || clock::now().saturating_duration_since(self.since);
        let verdict = self.judge.by_time(verdict, took);
        self.settle(self.by_time_given(verdict, &told.diagnosis));
    }

    /// A timeout within less time than the settings give an attempt says nothing about the destination.
    fn by_time_given(&self, verdict: Verdict, failed: &Diagnosis) -> Verdict {
        let allotted = || Allotted {
            time: self.ends.saturating_duration_since(self.since),
            configured: None,
            is_explicit: false,
        };
        self.judge.by_allotted(verdict, failed, allotted)
    }

    fn settle(&mut self, verdict: Verdict) {
        if let Some(ticket) = self.ticket.take() {
            settle(ticket, verdict, (None, clock::now()), || None);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // It had its configured time, however much more it was given.
        if self.judge.ends(self.since).min(self.ends) <= clock::now() {
            let expired = Diagnosis::out_of_time(Waited::Attempt);
            let verdict = (self.judge).judge_operation(&expired, Class::Passing, None);
            self.settle(self.by_time_given(verdict, &expired));
        }
    }
}
