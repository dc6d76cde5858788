//! The probes that test whether an outage is over. Each has a lease.

use std::time::Duration;

use tokio::time::Instant;

/// The probes of one half-open circuit.
#[derive(Debug, Default)]
pub(super) struct Probes {
    out: Vec<ProbeLease>,
    succeeded: u32,
    failed: u32,
    granted: u64,
}

#[derive(Debug)]
struct ProbeLease {
    id: u64,
    ends: Instant,
    /// Whether the response head has arrived and was a success.
    answered: bool,
}

impl Probes {
    /// Permits one more probe, if fewer than `most` are in flight or have ended.
    ///
    /// # Errors
    ///
    /// Returns when the first lease of those in flight ends.
    pub(super) fn grant(&mut self, most: u32, ends: Instant) -> Result<u64, Option<Instant>> {
        let ended = self.succeeded.saturating_add(self.failed);
        let taken = u64::from(ended) + self.out.len() as u64;
        if taken >= u64::from(most) {
            return Err(self.out.iter().map(|lease| lease.ends).min());
        }
        let id = self.granted;
        self.granted += 1;
        let answered = false;
        self.out.push(ProbeLease { id, ends, answered });
        Ok(id)
    }

    /// Ends a lease. Returns false if the lease ran out before; then another probe may have taken its place.
    pub(super) fn end(&mut self, id: u64) -> bool {
        let before = self.out.len();
        self.out.retain(|lease| lease.id != id);
        self.out.len() < before
    }

    /// Counts a successful probe.
    pub(super) fn succeed(&mut self) {
        self.succeeded = self.succeeded.saturating_add(1);
    }

    /// Counts a failed probe, where a single failure does not decide.
    pub(super) fn fail(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    /// Returns how many probes succeeded, and how many failed.
    pub(super) const fn ended(&self) -> (u32, u32) {
        (self.succeeded, self.failed)
    }

    /// Records that the response to a probe has begun successfully.
    pub(super) fn answer(&mut self, id: u64) {
        for lease in self.out.iter_mut().filter(|lease| lease.id == id) {
            lease.answered = true;
        }
    }

    /// Removes the leases that have run out. A probe whose response body is still being received has already proved
    /// that the destination is up.
    pub(super) fn expire(&mut self, now: Instant) {
        let mut answered = 0;
        self.out.retain(|lease| {
            let over = lease.ends <= now;
            answered += u32::from(over && lease.answered);
            !over
        });
        self.succeeded = self.succeeded.saturating_add(answered);
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.out.capacity() * size_of::<ProbeLease>()
    }

    /// Returns whether a lease has not ended yet, or ended less than `grace` ago.
    pub(super) fn any_since(&self, now: Instant, grace: Duration) -> bool {
        self.out.iter().any(|lease| now < lease.ends + grace)
    }
}
