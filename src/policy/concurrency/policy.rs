//! The concurrency limit of a driver: which permits a request needs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ConcurrencyConfig;
use super::decide::Rules;
use super::permit::{Permit, Rejection};
use super::state::{Shared, Terms};
use crate::clock;
use crate::destination::Destination;
use crate::error::{Error, ReasonText};
use crate::hop::{Diagnosis, Kind};
#[cfg(feature = "otel")]
use crate::metrics::Look;
use crate::options::Priority;
use crate::policy::keyed::Found;
use crate::policy::{DestinationKey, NamedRules, Subject, Versioned, keyed};
use crate::registry::Registry;

pub(crate) use super::state::Admitted;

/// A handle to the limits of a [`ConcurrencyLayer`](crate::ConcurrencyLayer). It is cheap to clone. Every clone of the
/// layer shares the limits.
///
/// # Example
///
/// ```
/// use sevenhops::{ConcurrencyConfig, ConcurrencyLayer};
///
/// let limits = ConcurrencyLayer::new(ConcurrencyConfig::new())?.concurrency_handle();
/// let api = "https://api.test".parse()?;
/// assert!(limits.snapshot(&api).is_none()); // no attempt yet
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ConcurrencyHandle(Arc<Registry<Shared>>);

/// The limit of a destination, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConcurrencySnapshot {
    /// How many attempts may be in flight.
    pub limit: u32,
    /// How many are in flight.
    pub in_flight: u32,
    /// How many calls wait for a permit.
    pub queued: usize,
}

impl ConcurrencyHandle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Registry::new(clock::now())))
    }

    /// Returns the limit of a destination; `None` if no attempt to it was made.
    #[must_use]
    pub fn snapshot(&self, destination: &Destination) -> Option<ConcurrencySnapshot> {
        let (limit, in_flight, queued) = self.0.peek(destination, Shared::counts)?;
        Some(ConcurrencySnapshot {
            limit,
            in_flight,
            queued,
        })
    }

    /// Returns a view for metrics: the limit of each destination, its attempts in flight, and the calls that wait.
    #[cfg(feature = "otel")]
    pub(crate) fn look(&self) -> Look<[u64; 3]> {
        Look::at(&self.0, |known| {
            let counts = |destination: &Destination, shared: &Shared| {
                let (limit, in_flight, queued) = shared.counts();
                let counts = [limit.into(), in_flight.into(), queued as u64];
                (destination.clone(), counts)
            };
            known.each(counts)
        })
    }
}

impl fmt::Debug for ConcurrencyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyHandle").finish_non_exhaustive()
    }
}

/// The concurrency limit of a driver.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) limits: ConcurrencyHandle,
    pub(crate) config: Arc<ConcurrencyConfig>,
    pub(crate) key: Option<DestinationKey>,
    pub(crate) rules: NamedRules<ConcurrencyConfig>,
}

impl Policy {
    /// Asks for a permit for a request with this much time left; `None` if no limit holds for it.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the limit, if the request would have to wait too long.
    pub(crate) fn admit<B>(
        &self,
        subject: Subject<'_, B>,
        (priority, left): (Priority, Duration),
        now: Instant,
    ) -> Result<Option<Admitted>, Error> {
        let Some((shared, rules)) = self.state_of(subject, now)? else {
            return Ok(None);
        };
        let terms = Terms {
            rules,
            max_queued: self.config.get_max_queued(),
            longest: self.config.longest(left),
            priority,
        };
        shared.admit(&terms, now).map(Some).map_err(rejected)
    }

    /// Returns a permit that is free now; `None` if no limit holds for the request. It does not queue.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the limit, if no permit is free.
    pub(crate) fn try_admit<B>(
        &self,
        subject: Subject<'_, B>,
        now: Instant,
    ) -> Result<Option<Permit>, Error> {
        let Some((shared, rules)) = self.state_of(subject, now)? else {
            return Ok(None);
        };
        shared.try_admit(rules, now).map(Some).map_err(rejected)
    }

    fn state_of<B>(
        &self,
        subject: Subject<'_, B>,
        now: Instant,
    ) -> Result<Found<Shared, Versioned<Rules>>, Error> {
        if !self.config.get_enabled() {
            return Ok(None);
        }
        let registry = (&*self.limits.0, self.key.as_ref());
        let rules = |name: Option<&_>| self.rules.of(name, &*self.config, ConcurrencyConfig::rules);
        let new = |_: &_, rules| Shared::new(rules);
        keyed::state_of(registry, subject, now, (rules, new))
    }
}

/// Returns the error of an attempt without a permit.
pub(crate) fn rejected(rejection: Rejection) -> Error {
    let diagnosis = Diagnosis::refusal(Kind::ConcurrencyLimit);
    Error::refused(crate::hop::Policy::Concurrency, diagnosis)
        .caused_by(ReasonText::new(rejection.to_string()))
}
