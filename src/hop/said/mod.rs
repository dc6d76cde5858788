//! The far side's own word: what the head of an answer says of the way that it took.
//!
//! Names and numbers only. Free text (a metric's description, a proxy's details, a comment in `Via`)
//! may hold anything, and is not kept. What is malformed counts as not said; what is kept is bounded.

mod list;
mod proxy;
mod timing;
mod via;

use std::time::{Duration, SystemTime};

use http::header::{AGE, HeaderMap, HeaderName};

pub(super) use self::proxy::{PROXY_STATUS, proxies};

pub use self::proxy::Proxy;
pub use self::timing::Metric;
use crate::hint;

/// What the head of an answer says of the way that it took.
///
/// # Trade-offs
///
/// It is what others claim. Nothing is decided by it but who gave a failing status, the gateway or
/// the server, and when to come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Said {
    /// `Server-Timing` (W3C): what was measured there, in the order in which it was said.
    pub timings: Vec<Metric>,
    /// `Proxy-Status` (RFC 9209): the middleboxes that have something to say, the one nearest to the
    /// service first.
    pub proxies: Vec<Proxy>,
    /// `Via` (RFC 9110 §7.6.3): the hosts or pseudonyms of those who passed the answer on, the one
    /// nearest to the service first.
    pub via: Vec<String>,
    /// `Age` (RFC 9111 §5.1): for how long the answer has been in caches.
    pub age: Option<Duration>,
    /// `Retry-After` (RFC 9110 §10.2.3): when to come back.
    pub retry_after: Option<Duration>,
}

impl Said {
    /// Reads a head; `None` if it says nothing of the kind, which costs one pass over its names.
    pub(crate) fn read(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Self> {
        // A quarter of what five look-ups in vain cost.
        if !headers.keys().any(says_something) {
            return None;
        }
        let said = Self {
            timings: timing::timings(headers),
            proxies: proxies(headers),
            via: via::via(headers),
            age: age(headers),
            retry_after: hint::retry_after(headers, now),
        };
        (said != Self::default()).then_some(said)
    }

    /// Whether a cache answered for the service: the answer has an age.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.age.is_some_and(|age| !age.is_zero())
    }

    /// How long the service says that it took.
    ///
    /// The first metric that is called `total` (a gateway adds its own behind it); without one, the
    /// longest: metrics may lie within one another, so that their sum could be too much. `None` for an
    /// answer out of a cache: it says how long another call took.
    #[must_use]
    pub fn service_time(&self) -> Option<Duration> {
        if self.is_cached() {
            return None;
        }
        let timed = || {
            let metrics = self.timings.iter();
            metrics.filter_map(|metric| Some((metric.name.as_str(), metric.duration?)))
        };
        let total = timed().find(|(name, _)| name.eq_ignore_ascii_case("total"));
        let longest = || timed().max_by_key(|(_, took)| *took);
        total.or_else(longest).map(|(_, took)| took)
    }
}

fn says_something(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "age" | "proxy-status" | "retry-after" | "server-timing" | "via"
    )
}

/// For how long an answer has been in caches. More seconds than 2³¹ count as so many (RFC 9111
/// §1.2.2).
pub(super) fn age(headers: &HeaderMap) -> Option<Duration> {
    let age = hint::readable(headers, &AGE, hint::seconds)?;
    Some(age.min(Duration::from_secs(1 << 31)))
}

/// How many entries of a field are kept.
const MOST_ENTRIES: usize = 16;
/// How many bytes of a name are kept: enough for a generated host name.
const MOST_NAME: usize = 64;

#[cfg(test)]
mod tests;
