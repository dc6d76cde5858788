//! The rate limit of a driver: which bucket a request belongs to, and whether it waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::RateLimitConfig;
use super::decide::Rate;
use super::state::{Shared, Slot};
use crate::clock;
use crate::error::{Error, ReasonText};
use crate::hop::{Diagnosis, Kind, short};
use crate::policy::{DestinationKey, NamedRules, Subject, Versioned, keyed};
use crate::registry::Registry;

/// The buckets of all destinations. Clones share them.
#[derive(Clone)]
pub(crate) struct RateLimit(Arc<Registry<Shared>>);

impl RateLimit {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Registry::new(clock::now())))
    }
}

/// The rate limit of a driver.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) limit: RateLimit,
    pub(crate) config: Arc<RateLimitConfig>,
    pub(crate) key: Option<DestinationKey>,
    pub(crate) rules: NamedRules<RateLimitConfig>,
}

impl Policy {
    /// Returns the same policy under another config.
    pub(crate) fn under(
        &self,
        config: &RateLimitConfig,
        rules: &NamedRules<RateLimitConfig>,
    ) -> Self {
        Self {
            config: Arc::new(config.clone()),
            rules: rules.clone(),
            ..self.clone()
        }
    }

    /// Reserves a slot for a request with this much time left; `None` if no limit holds for it.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the limit, if the request would have to wait too long.
    pub(crate) fn reserve<B>(
        &self,
        subject: Subject<'_, B>,
        left: Duration,
        now: Instant,
    ) -> Result<Option<Slot>, Error> {
        let Some(own) = self.config.rate() else {
            return Ok(None);
        };
        let registry = (&*self.limit.0, self.key.as_ref());
        let rate = |config: &RateLimitConfig| config.rate().unwrap_or(own);
        let rules = |name: Option<&_>| self.rules.of(name, &*self.config, rate);
        let new = |rate| Shared::new(rate, now);
        match keyed::state_of(registry, subject, now, (rules, new))? {
            Some(found) => self.reserve_in(found, left, now).map(Some),
            None => Ok(None),
        }
    }

    fn reserve_in(
        &self,
        (shared, rate): (Arc<Shared>, Versioned<Rate>),
        left: Duration,
        now: Instant,
    ) -> Result<Slot, Error> {
        let longest = self.config.longest(left);
        let slot = shared.reserve(rate, now, (longest, self.config.get_server_informed()));
        slot.map_err(|wait| {
            let diagnosis = Diagnosis::refusal(Kind::RateLimit);
            let error = Error::refused(crate::hop::Policy::RateLimit, diagnosis);
            let reason = NoSlot { wait, longest }.to_string();
            error.caused_by(ReasonText::new(reason)).after(wait)
        })
    }
}

/// Why the limit rejects.
#[derive(Debug)]
struct NoSlot {
    wait: Duration,
    longest: Duration,
}

impl fmt::Display for NoSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = short(self.wait);
        match self.longest.is_zero() {
            true => write!(
                f,
                "the next slot is free in {wait}, and the call does not wait"
            ),
            false => write!(
                f,
                "the next slot is free in {wait}, and the call waits for at most {}",
                short(self.longest)
            ),
        }
    }
}

#[cfg(test)]
mod messages {
    const MS: fn(u64) -> std::time::Duration = std::time::Duration::from_millis;

    crate::messages_tests::list!(NoSlot: super::NoSlot {
        wait: MS(250),
        longest: MS(0),
    },
    super::NoSlot {
        wait: MS(250),
        longest: MS(100),
    });
}
