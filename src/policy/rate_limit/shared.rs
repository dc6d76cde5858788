//! The rate limit that a fleet shares: its store, its config, and its health.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::outage::{Change, Health, StoreTicket};
use super::policy::RateLimit;
use super::store::RateLimitStore;
use crate::box_error::BoxError;
use crate::callback::{Panicked, Site};
use crate::clock;
use crate::config_error::{ConfigError, expected};
use crate::getters::getters;
use crate::luck::luck;
use crate::telemetry::{Span, rate_limit_store};

/// The config of a rate limit that processes share.
///
/// These are plain values. [`SharedRateLimit::new`] checks them.
///
/// # Defaults
///
/// | config | default |
/// |---|---|
/// | `processes` | none: it has to be set |
/// | `timeout` | 100ms |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedRateLimitConfig {
    processes: u32,
    timeout: Option<Duration>,
}

impl SharedRateLimitConfig {
    /// Creates a config for a fleet of this many processes: from 1 on. While the store is away, each of them uses its
    /// share of the rate.
    #[must_use]
    pub const fn new(processes: u32) -> Self {
        Self {
            processes,
            timeout: None,
        }
    }

    /// Sets how long a call waits for a response of the store: more than 0, at most 10 s. It waits for at most half of
    /// its time left.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Returns how many processes share the rate.
    #[must_use]
    pub const fn get_processes(&self) -> u32 {
        self.processes
    }

    getters! {
        get_timeout(timeout) -> Duration = |own| own.timeout.unwrap_or(TIMEOUT);
    }

    fn check(&self) -> Result<(), ConfigError> {
        expected::count("shared_rate_limit.processes", self.processes, 1..=u32::MAX)?;
        let timeout = self.get_timeout();
        match !timeout.is_zero() && timeout <= LONGEST_TIMEOUT {
            true => Ok(()),
            false => {
                let expected = "more than 0s, at most 10s";
                Err(ConfigError::invalid(
                    "shared_rate_limit.timeout",
                    timeout,
                    expected,
                ))
            }
        }
    }
}

/// A rate limit that several processes share: its store, whether the store responds, and the local share of this process.
/// Clones share all of it.
///
/// [`RateLimitLayer::share_rate_limit`](crate::RateLimitLayer::share_rate_limit) uses it, and so do the functions of that
/// name of a [`StandardLayer`](crate::StandardLayer), a client and an [`Operation`](crate::Operation). The rates are
/// those of their configs, so all processes need the same ones. [`RateLimitStore`] has an example.
///
/// # Protects from
///
/// A quota of the whole account that each process uses up for itself.
///
/// # While the store is away
///
/// If the store fails, does not respond in time, or its response makes no sense, no call fails because of that. The process
/// then sends at its local share: `requests` divided by [`processes`](SharedRateLimitConfig::new). The burst is divided
/// as well, to at least 1. The process asks the store again after 1 s, then after pauses that grow to 30 s. One call asks, the others do not wait for it.
///
/// The slots that the store granted count for the local share, too: an outage does not begin with another burst.
///
/// # Reports
///
/// A wait and a rejection look as without a store. The wait includes the time of the store's response. A call
/// that used the local share has a row in its timeline. The beginning and the end of an outage are one event each,
/// `rate limit store`, on the span of the call that noticed it.
///
/// # Trade-offs
///
/// - Each attempt waits for one round trip to the store.
/// - If only a part of the processes loses the store, they use their shares beside the rate of the others. The sum
///   then exceeds the rate, by at most the shares of those processes.
/// - A slot that a call leaves during its wait is lost, because the store has given the later ones away already.
/// - With [`server_informed`](crate::RateLimitConfig::server_informed), each process follows the server's word that
///   nothing is left. The store does not learn of it.
///
/// # How people get it wrong
///
/// - Too few `processes`: in an outage the fleet sends more than the rate. Count those of the largest deployment.
/// - A timeout that is longer than a call is worth: each call waits that long at the beginning of an outage.
#[derive(Clone)]
pub struct SharedRateLimit(Arc<Inner>);

struct Inner {
    store: Box<dyn RateLimitStore>,
    site: Site,
    config: SharedRateLimitConfig,
    health: Mutex<Health>,
    /// The local shares, for all stacks of the process.
    local: RateLimit,
}

impl SharedRateLimit {
    /// Creates a shared rate limit over a store.
    ///
    /// # Errors
    ///
    /// Fails if a value of the config is out of range. The error names the field and its value.
    pub fn new(
        store: impl RateLimitStore,
        config: SharedRateLimitConfig,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self(Arc::new(Inner {
            store: Box::new(store),
            site: Site::new("RateLimitStore::reserve"),
            config,
            health: Mutex::default(),
            local: RateLimit::new(),
        })))
    }

    pub(super) fn store(&self) -> &dyn RateLimitStore {
        &*self.0.store
    }

    pub(crate) fn local(&self) -> RateLimit {
        self.0.local.clone()
    }

    pub(super) fn site(&self) -> &Site {
        &self.0.site
    }

    pub(super) fn config(&self) -> &SharedRateLimitConfig {
        &self.0.config
    }

    /// Permits a call to ask the store; `None` in an outage.
    pub(super) fn ask(&self, now: Instant) -> Option<StoreTicket> {
        self.health().ask(now, luck())
    }

    /// Records the result of a call to the store, and reports a change to the span.
    pub(super) fn record(&self, ticket: StoreTicket, failure: Option<&StoreFailure>, span: &Span) {
        let change = {
            let mut health = self.health();
            match failure {
                None => health.succeed(ticket),
                Some(_) => health.fail(ticket, clock::now(), luck()),
            }
        };
        report(change, failure, span);
    }

    /// Records that a call had no more time to wait for the store.
    pub(super) fn gave_up(&self, ticket: StoreTicket, asked: Instant, span: &Span) {
        let timeout = self.config().get_timeout();
        let change = {
            let mut health = self.health();
            health.give_up(ticket, (asked, clock::now()), (timeout, luck()))
        };
        report(change, Some(&StoreFailure::Late(timeout)), span);
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.0.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedRateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRateLimit")
            .field("store", &self.0.store)
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

/// Reports a change to the span.
fn report(change: Option<Change>, failure: Option<&StoreFailure>, span: &Span) {
    if let Some(change) = change {
        let failure = failure.filter(|_| change == Change::Away);
        rate_limit_store(span, change.as_str(), failure.map(|failure| failure as _));
    }
}

/// Why a store was of no use to a call.
#[derive(Debug)]
pub(super) enum StoreFailure {
    Failed(BoxError),
    Late(Duration),
    Panicked(Panicked),
    /// It granted a slot after this wait, and the call waits for at most the second one.
    TooLong(Duration, Duration),
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Late(timeout) => write!(f, "no response within {timeout:?}"),
            Self::Panicked(panicked) => panicked.fmt(f),
            Self::TooLong(wait, longest) => write!(
                f,
                "a slot was granted in {wait:?}, and the call waits for at most {longest:?}"
            ),
        }
    }
}

/// A round trip in a data center takes 1 ms, and a busy Redis is still useful.
const TIMEOUT: Duration = Duration::from_millis(100);
/// A slower store costs more than it saves.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod messages {
    use std::time::Duration;

    use super::StoreFailure;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    crate::messages_tests::list!(StoreFailure: StoreFailure::Failed("Connection refused".into()),
    StoreFailure::Late(MS(100)),
    StoreFailure::TooLong(MS(250), MS(100)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_are_refused_by_name() {
        let ten = SharedRateLimitConfig::new(10);
        for (bad, expected) in [
            (
                SharedRateLimitConfig::new(0),
                "shared_rate_limit.processes: 0 is invalid: expected at least 1",
            ),
            (
                ten.timeout(Duration::ZERO),
                "shared_rate_limit.timeout: 0ns is invalid: expected more than 0s, at most 10s",
            ),
            (
                ten.timeout(Duration::from_millis(10_001)),
                "shared_rate_limit.timeout: 10.001s is invalid: expected more than 0s, at most 10s",
            ),
        ] {
            assert_eq!(bad.check().unwrap_err().to_string(), expected);
        }
        assert!(ten.check().is_ok());
        assert!(ten.timeout(LONGEST_TIMEOUT).check().is_ok());
    }
}
