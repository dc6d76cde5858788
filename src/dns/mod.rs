//! Resolves names to addresses, and honors their TTL.
//!
//! ```text
//!  host ─▶ hosts file, localhost ─▶ search (which absolute names, in which order)
//!             │ known                  │ for each name, A and AAAA apart
//!             ▼                        ▼
//!          Answer ◀── hot (no lock) ◀── cache ◀── flight (one query for many) ◀── slots ◀── servers (one after another)
//!             │                             fresh, refreshed before it expires, or old while the servers fail
//!             ▼
//!          filter (may this address be dialed?) ─▶ the transport
//! ```
//!
//! [`Resolver`] is the usual resolver. For a service registry, pinned addresses or your own resolver, implement
//! [`Resolve`].
//!
//! # Example
//!
//! ```no_run
//! use sevenhops::dns::{Resolve, Resolver, Resolution};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let resolver = Resolver::from_system()?;
//! let answer = match resolver.resolve("api.stripe.com") {
//!     Resolution::Cached(answer) => answer?, // from memory: no dns hop
//!     Resolution::Pending(answer) => answer.await?,
//! };
//! println!("{:?}, for {:?}", answer.addresses(), answer.ttl());
//! # Ok(())
//! # }
//! ```
//!
//! # Protects from
//!
//! - Addresses that are used long after their TTL.
//! - Too many queries when an entry expires or a server fails.
//! - An outage of the name servers, a server that does not resolve, or a record that is missing for a moment.
//! - A silent address family or a silent domain that delays the others.
//! - A lookup without an end, and a cache without a bound.
//! - A public resolver that is used without the user's knowledge.
//! - With a [`AddressFilter`], a URL that leads into the private network.
//!
//! # Defaults
//!
//! See [`ResolverBuilder`].
//!
//! # Trade-offs
//!
//! The slower address family gets 50 ms more than the faster one took. Addresses that come later are in the next
//! [`Answer`]. Until then this one is [partial](Answer::is_partial).
//!
//! While the name servers fail, an [`Answer`] may be [stale](Answer::is_stale): it has the last known addresses, for at
//! most a day. It is also stale, for about a minute at most, while a denial of the name is not confirmed. To fail
//! instead, set a [`stale_limit`](ResolverBuilder::stale_limit) of zero.
//!
//! # How people get it wrong
//!
//! They treat an address as gone because one answer lacks it: see [`Answer::is_authoritative_for`].

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

mod address_set;
mod answer;
mod build;
mod cache;
mod cidr;
mod contained;
mod denial;
mod dual_stack;
#[cfg(feature = "encrypted-dns")]
mod encrypted;
mod error;
mod exchange;
mod filter;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod hosts;
mod hot_cache;
mod malformed;
mod merge;
mod nsswitch;
mod order;
mod query;
mod query_slots;
mod record;
mod resolver;
mod response;
#[cfg(test)]
mod scripted;
mod search;
mod servers;
mod singleflight;
mod special_ranges;
mod static_resolver;
mod system;
mod watch;

pub use answer::Answer;
pub(crate) use answer::AnswerOrigin;
pub use build::ResolverBuilder;
pub use cidr::{Cidr, InvalidCidr};
pub(crate) use contained::ContainedResolver;
pub use error::{DnsError, DnsErrorReason};
pub use filter::{AddressDenied, AddressFilter};
pub use hosts::HostsFile;
pub use resolver::Resolver;
pub use special_ranges::AddressRange;
pub use static_resolver::StaticResolver;

/// Resolves host names. Implement it to use your own DNS.
///
/// `host` is lower-case ASCII, as in a URL, with the trailing dot if there was one. IP literals are never looked up.
///
/// If an implementation panics, the lookup fails: the call fails at dns, and nothing was sent.
///
/// # Example
///
/// ```
/// use std::net::IpAddr;
/// use std::time::Duration;
/// use sevenhops::Client;
/// use sevenhops::dns::{Answer, DnsError, DnsErrorReason, Resolution, Resolve};
///
/// #[derive(Debug)]
/// struct OneName(IpAddr);
///
/// impl Resolve for OneName {
///     fn resolve(&self, host: &str) -> Resolution {
///         let answer = Answer::new([self.0], Duration::from_secs(60)).filter(|_| host == "api.test");
///         Resolution::Cached(answer.ok_or_else(|| DnsError::new(host, DnsErrorReason::NotFound)))
///     }
/// }
///
/// let client = Client::builder(Duration::from_secs(10))
///     .transport(|transport| transport.resolver(OneName([127, 0, 0, 1].into())));
/// # drop(client); Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// Looks `host` up. [`Resolution`] shows whether the caller must wait.
    ///
    /// It is called on every attempt: an implementation must not block.
    fn resolve(&self, host: &str) -> Resolution;

    /// Looks `host` up for a caller that waits for at most `limit`.
    ///
    /// An implementation that can use older results should return them within half of that time. Others do not have to
    /// override this: the caller enforces the timeout.
    fn resolve_within(&self, host: &str, limit: Duration) -> Resolution {
        let _ = limit;
        self.resolve(host)
    }

    /// Reports that an address of `host` refused or dropped a connection: the name may have moved before the end of its
    /// TTL.
    ///
    /// An implementation with a cache queries early, in the background, and at most once a second. It must not block.
    /// The returned future is ready when the new result has come: a call that has no other address to try may wait for
    /// it. Others need not override this.
    fn report_unreachable(&self, host: &str) -> Option<Refresh> {
        let _ = host;
        None
    }

    /// Keeps the cached results of `host` while the returned value lives, because a destination has connections to its
    /// addresses.
    ///
    /// A resolver with a bounded cache evicts other names first. It must not block. Others need not override this.
    fn hold(&self, host: &str) -> Option<NameHold> {
        let _ = host;
        None
    }
}

/// Keeps a resolver's cached results of a name as long as it lives: see [`Resolve::hold`].
#[derive(Debug)]
pub struct NameHold {
    _token: Box<dyn Any + Send + Sync>,
}

impl NameHold {
    /// Creates a hold that drops `token` at its end.
    #[must_use]
    pub fn new(token: impl Any + Send + Sync) -> Self {
        Self {
            _token: Box::new(token),
        }
    }
}

/// A second lookup of a name: ready when it is over, with any result.
pub type Refresh = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A lookup: known from the cache, or waiting for a server.
///
/// The caller can see the difference: an attempt enters its dns hop only if there is something to wait for.
#[expect(
    clippy::exhaustive_enums,
    reason = "either there is a wait or there is none"
)]
pub enum Resolution {
    /// Resolved from the cache, without waiting.
    Cached(Result<Answer, DnsError>),
    /// A server must be queried. Dropping the future does not affect other lookups of the same name.
    Pending(LookupFuture),
}

/// The future of a DNS answer.
pub type LookupFuture = Pin<Box<dyn Future<Output = Result<Answer, DnsError>> + Send>>;

impl Resolution {
    /// Waits for the result, if a query is needed.
    ///
    /// # Errors
    ///
    /// Fails if the name did not resolve.
    pub async fn answer(self) -> Result<Answer, DnsError> {
        match self {
            Self::Cached(answer) => answer,
            Self::Pending(answer) => answer.await,
        }
    }
}

impl fmt::Debug for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cached(answer) => f.debug_tuple("Cached").field(answer).finish(),
            Self::Pending(_) => f.debug_tuple("Pending").finish_non_exhaustive(),
        }
    }
}

/// An address family. Each has its own DNS query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    V6,
    V4,
}

impl Family {
    /// Both families, in the order in which they take turns.
    pub(crate) const BOTH: [Self; 2] = [Self::V6, Self::V4];

    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V6(_) => Self::V6,
            IpAddr::V4(_) => Self::V4,
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// One family of one absolute name, written without the trailing dot: the question of a query.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) name: Arc<str>,
    pub(crate) family: Family,
}

/// The time to live of results that do not come from DNS: hosts file, fixed addresses. It is long enough to mean "until
/// changed", and short enough to be added to any instant.
pub(crate) const UNCHANGING: Duration = Duration::from_secs(365 * 24 * 60 * 60);
