//! The store of a rate limit that processes share: the trait.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use crate::box_error::BoxError;
use crate::destination::Destination;

/// Keeps the buckets of a rate limit that several processes share.
///
/// With the feature `redis`, `redis::RedisStore` is one. Implement the trait to use another database.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::policy::rate_limit::{
///     RateLimitStore, SharedRateLimit, SharedRateLimitConfig, SlotDecision, SlotRequest, StoreFuture,
/// };
/// use sevenhops::{RateLimitConfig, RateLimitLayer};
///
/// /// Grants everything: only a database that all processes use can do better.
/// #[derive(Debug)]
/// struct Generous;
///
/// impl RateLimitStore for Generous {
///     fn reserve<'a>(&'a self, request: &'a SlotRequest) -> StoreFuture<'a> {
///         Box::pin(async {
///             // The database finds the bucket by the destination, and counts by the interval.
///             let (_bucket, _each) = (request.destination(), request.interval());
///             Ok(SlotDecision::Granted { wait: Duration::ZERO })
///         })
///     }
/// }
///
/// let limit = SharedRateLimit::new(Generous, SharedRateLimitConfig::new(20))?;
/// let layer = RateLimitLayer::new(RateLimitConfig::new(100))?.share_rate_limit(&limit);
/// # drop(layer); Ok::<(), sevenhops::ConfigError>(())
/// ```
///
/// # Cancel safety
///
/// The future is dropped if the call is dropped, or if the store takes too long. A slot that was granted meanwhile may
/// be lost. It must never be granted twice.
pub trait RateLimitStore: fmt::Debug + Send + Sync + 'static {
    /// Reserves a slot in the bucket of a destination, or says when the next one is free.
    ///
    /// It is called before each attempt, so it must not block. If the future fails or takes too long, the process uses
    /// its local share of the rate. A panic has the same effect.
    fn reserve<'a>(&'a self, request: &'a SlotRequest) -> StoreFuture<'a>;
}

/// The future of [`RateLimitStore::reserve`].
pub type StoreFuture<'a> =
    Pin<Box<dyn Future<Output = Result<SlotDecision, BoxError>> + Send + 'a>>;

/// A request for one slot: the bucket, its rate, and how long the call waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRequest {
    destination: Destination,
    interval: Duration,
    burst: u32,
    longest: Duration,
}

impl SlotRequest {
    /// Creates a request for a slot: one for each `interval`, `burst` at once after a pause. The call waits for at most
    /// `longest`.
    #[must_use]
    pub const fn new(
        destination: Destination,
        interval: Duration,
        burst: u32,
        longest: Duration,
    ) -> Self {
        Self {
            destination,
            interval,
            burst,
            longest,
        }
    }

    /// Returns the name of the bucket. It may be a name from `key_by`, and then contain a secret of the user: hash it
    /// before it leaves the process.
    #[must_use]
    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Returns the time between two slots.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns how many slots are free at once after a pause: from 1 on.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Returns how long the call waits for its slot at most. A later slot must not be reserved.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        self.longest
    }
}

/// The decision of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotDecision {
    /// A slot is reserved. The request is sent after this wait, which is not longer than the call waits.
    Granted {
        /// The time until the slot is due; zero if that is now.
        wait: Duration,
    },
    /// Nothing is reserved.
    Refused {
        /// The time until the next slot is free.
        wait: Duration,
    },
}
