//! The rate limit of a driver: which bucket a request belongs to, and whether it waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::RateLimitConfig;
use super::asking::{Asking, Question};
use super::decide::Rate;
use super::shared::SharedRateLimit;
use super::state::{Shared, Slot};
use crate::clock::{self, after};
use crate::destination::Destination;
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
    /// The store, if processes share the rate.
    pub(crate) shared: Option<SharedRateLimit>,
}

impl Policy {
    /// Reserves a slot for a request with this much time left, or asks the store for one; `None` if no limit holds for it.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the limit, if the request would have to wait too long.
    pub(crate) fn reserve<B>(
        &self,
        subject: Subject<'_, B>,
        (left, waits): (Duration, Waits),
        now: Instant,
    ) -> Result<Option<Place>, Error> {
        let Some(own) = self.config.rate() else {
            return Ok(None);
        };
        let registry = (&*self.limit.0, self.key.as_ref());
        let rate = |config: &RateLimitConfig| config.rate().unwrap_or(own);
        let rules = |name: Option<&_>| self.rules.of(name, &*self.config, rate);
        let new =
            |name: &Destination, rate| Shared::new(name.clone(), self.rate_of_bucket(rate), now);
        let Some((bucket, rate)) = keyed::state_of(registry, subject, now, (rules, new))? else {
            return Ok(None);
        };
        match &self.shared {
            None => {
                let longest = waits.longest(&self.config, left);
                let slot = reserve_in(bucket, (&self.config, rate), (longest, now));
                slot.map(|slot| Some(Place::Slot(slot)))
            }
            Some(limit) => {
                let patience = Patience {
                    config: Arc::clone(&self.config),
                    deadline: after(now, left),
                    waits,
                };
                self.ask(limit, (bucket, rate), (patience, now)).map(Some)
            }
        }
    }

    /// Asks the store, or uses the local share in an outage.
    fn ask(
        &self,
        limit: &SharedRateLimit,
        (bucket, rate): (Arc<Shared>, Versioned<Rate>),
        (patience, now): (Patience, Instant),
    ) -> Result<Place, Error> {
        let longest = patience.longest(patience.left(now));
        let share = self.rate_of_bucket(rate);
        let wait = bucket.not_before().saturating_duration_since(now);
        if wait > longest {
            return Err(rejected(wait, (longest, false)));
        }
        if !wait.is_zero() {
            // A slot that the store gave now would be due at the same instant as all others.
            return Ok(Place::Later(after(now, wait)));
        }
        let Some(ticket) = limit.ask(now) else {
            return patience.reserve(bucket, share, now).map(Place::Slot);
        };
        let question = Question {
            ticket,
            bucket,
            rate: rate.rules,
            share,
            patience,
        };
        Ok(Place::Asking(Box::new(Asking::new(limit, question, now))))
    }

    /// Returns the rate of a bucket of this process: the local share, if there is a store.
    fn rate_of_bucket(&self, rate: Versioned<Rate>) -> Versioned<Rate> {
        let shared = self.shared.as_ref();
        let share = |limit: &SharedRateLimit| rate.rules.share(limit.config().get_processes());
        Versioned {
            rules: shared.map_or(rate.rules, share),
            ..rate
        }
    }

    /// Shares the rate by a store. All stacks of this process that use it share the local buckets, too.
    pub(crate) fn share(&mut self, limit: &SharedRateLimit) {
        self.limit = limit.local();
        self.shared = Some(limit.clone());
    }
}

/// The result of asking for a slot.
pub(crate) enum Place {
    Slot(Slot),
    /// The store is asked.
    Asking(Box<Asking>),
    /// The server said that nothing is left before this instant. The store is asked then.
    Later(Instant),
}

/// Whether a request waits for its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// If the config permits that. It has waited this long for the server already.
    ByConfig { waited: Duration },
    /// A hedge does not wait.
    Never,
}

impl Waits {
    fn longest(self, config: &RateLimitConfig, left: Duration) -> Duration {
        match self {
            Self::ByConfig { waited } => {
                let longest = config.longest(left.saturating_add(waited));
                longest.saturating_sub(waited)
            }
            Self::Never => Duration::ZERO,
        }
    }
}

/// How long a call waits for its slot after the response of the store.
pub(super) struct Patience {
    config: Arc<RateLimitConfig>,
    deadline: Instant,
    waits: Waits,
}

impl Patience {
    /// Returns the time left until the deadline of the call.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }

    /// Returns how long a call with this much time left waits at most.
    pub(super) fn longest(&self, left: Duration) -> Duration {
        self.waits.longest(&self.config, left)
    }

    pub(super) fn is_informed(&self) -> bool {
        self.config.get_server_informed()
    }

    /// Reserves a slot of the local share.
    pub(super) fn reserve(
        &self,
        bucket: Arc<Shared>,
        share: Versioned<Rate>,
        now: Instant,
    ) -> Result<Slot, Error> {
        let longest = self.longest(self.left(now));
        let informed = self.is_informed();
        let slot = bucket.reserve(share, now, (longest, informed));
        let slot = slot.map_err(|wait| rejected(wait, (longest, true)))?;
        Ok(slot.of_share())
    }
}

fn reserve_in(
    bucket: Arc<Shared>,
    (config, rate): (&RateLimitConfig, Versioned<Rate>),
    (longest, now): (Duration, Instant),
) -> Result<Slot, Error> {
    let slot = bucket.reserve(rate, now, (longest, config.get_server_informed()));
    slot.map_err(|wait| rejected(wait, (longest, false)))
}

/// Returns the error of a request without a slot.
pub(crate) fn rejected(wait: Duration, (longest, is_share): (Duration, bool)) -> Error {
    let diagnosis = Diagnosis::refusal(Kind::RateLimit);
    let error = Error::refused(crate::hop::Policy::RateLimit, diagnosis);
    let reason = NoSlot {
        wait,
        longest,
        is_share,
    };
    error
        .caused_by(ReasonText::new(reason.to_string()))
        .after(wait)
}

/// Why the limit rejects.
#[derive(Debug)]
struct NoSlot {
    wait: Duration,
    longest: Duration,
    is_share: bool,
}

impl fmt::Display for NoSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = short(self.wait);
        let whose = match self.is_share {
            true => " of the local share",
            false => "",
        };
        match self.longest.is_zero() {
            true => write!(
                f,
                "the next slot{whose} is free in {wait}, and the call does not wait"
            ),
            false => write!(
                f,
                "the next slot{whose} is free in {wait}, and the call waits for at most {}",
                short(self.longest)
            ),
        }
    }
}

#[cfg(test)]
mod messages {
    use std::time::Duration;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn no_slot(longest: u64, is_share: bool) -> super::NoSlot {
        super::NoSlot {
            wait: MS(250),
            longest: MS(longest),
            is_share,
        }
    }

    crate::messages_tests::list!(NoSlot: no_slot(0, false), no_slot(100, false), no_slot(100, true));
}
