//! The attempts that tell whether an outage is over, each on a lease.

use std::time::Duration;

use tokio::time::Instant;

/// The probes of one half-open circuit.
#[derive(Debug, Default)]
pub(super) struct Probes {
    out: Vec<Lease>,
    succeeded: u32,
    failed: u32,
    granted: u64,
}

#[derive(Debug)]
struct Lease {
    id: u64,
    ends: Instant,
    /// The head of its answer is here, and was well.
    answered: bool,
}

impl Probes {
    /// Lets one more probe out, if no more than `most` are out or have ended.
    ///
    /// # Errors
    ///
    /// Says when the first lease of those that are out ends.
    pub(super) fn grant(&mut self, most: u32, ends: Instant) -> Result<u64, Option<Instant>> {
        let ended = self.succeeded.saturating_add(self.failed);
        let taken = u64::from(ended) + self.out.len() as u64;
        if taken >= u64::from(most) {
            return Err(self.out.iter().map(|lease| lease.ends).min());
        }
        let id = self.granted;
        self.granted += 1;
        let answered = false;
        self.out.push(Lease { id, ends, answered });
        Ok(id)
    }

    /// Ends a lease. False if it ran out before, and another may have taken its place.
    pub(super) fn end(&mut self, id: u64) -> bool {
        let before = self.out.len();
        self.out.retain(|lease| lease.id != id);
        self.out.len() < before
    }

    /// A probe was successful.
    pub(super) fn succeed(&mut self) {
        self.succeeded = self.succeeded.saturating_add(1);
    }

    /// A probe failed, where one failure does not decide.
    pub(super) fn fail(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    /// How many succeeded, and how many failed.
    pub(super) const fn ended(&self) -> (u32, u32) {
        (self.succeeded, self.failed)
    }

    /// The answer to a probe has begun, and well.
    pub(super) fn answer(&mut self, id: u64) {
        for lease in self.out.iter_mut().filter(|lease| lease.id == id) {
            lease.answered = true;
        }
    }

    /// Takes back the leases that have run out. A probe whose answer is still being received has
    /// told what it was sent for.
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
        self.out.capacity() * size_of::<Lease>()
    }

    /// Whether a probe has been out lately.
    pub(super) fn any_since(&self, now: Instant, grace: Duration) -> bool {
        self.out.iter().any(|lease| now < lease.ends + grace)
    }
}
