//! The facts in a response head about the path of the response, as the servers on the path report them.
//!
//! Only names and numbers are kept. Free text (a metric's description, a proxy's details, a comment in `Via`) may hold
//! secrets and is dropped. Malformed values are ignored, and all kept values are bounded.

mod list;
mod proxy;
mod timing;
mod via;

use std::time::{Duration, SystemTime};

use http::header::{AGE, HeaderMap, HeaderName};

pub(super) use self::proxy::{PROXY_STATUS, proxies};

pub use self::proxy::ProxyStatus;
pub use self::timing::ServerTiming;
use crate::retry_after;

/// The facts in a response head about the path of the response.
///
/// # Trade-offs
///
/// The values are claims of other parties. They decide only two things: whether the gateway or the server gave a
/// failing status, and when to retry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// `Server-Timing` (W3C): the measurements of the server, in the order of the header.
    pub timings: Vec<ServerTiming>,
    /// `Proxy-Status` (RFC 9209): the reports of the middleboxes, the one nearest to the service first.
    pub proxies: Vec<ProxyStatus>,
    /// `Via` (RFC 9110 §7.6.3): the hosts or pseudonyms of the middleboxes that forwarded the response, the one nearest
    /// to the service first.
    pub via: Vec<String>,
    /// `Age` (RFC 9111 §5.1): the time that the response has spent in caches.
    pub age: Option<Duration>,
    /// `Retry-After` (RFC 9110 §10.2.3): the time after which to retry.
    pub retry_after: Option<Duration>,
}

impl ServerReport {
    /// Reads a head. Returns `None` if it has none of these fields, after one pass over the header names.
    pub(crate) fn read(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Self> {
        // This check costs a quarter of five failed lookups in the header map.
        if !headers.keys().any(says_something) {
            return None;
        }
        let report = Self {
            timings: timing::timings(headers),
            proxies: proxies(headers),
            via: via::via(headers),
            age: age(headers),
            retry_after: retry_after::retry_after(headers, now),
        };
        (report != Self::default()).then_some(report)
    }

    /// Returns whether a cache responded in place of the service: the response has an age.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.age.is_some_and(|age| !age.is_zero())
    }

    /// Returns the time that the service claims to have spent.
    ///
    /// The first metric that is called `total` counts, because a gateway adds its own after it. Without one, the
    /// longest metric counts: metrics may include one another, so their sum could be too long. `None` for a cached
    /// response, whose metrics belong to another call.
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

/// Returns the time that a response has spent in caches, at most 2³¹ seconds (RFC 9111 §1.2.2).
pub(super) fn age(headers: &HeaderMap) -> Option<Duration> {
    let age = retry_after::readable(headers, &AGE, retry_after::seconds)?;
    Some(age.min(Duration::from_secs(1 << 31)))
}

/// The maximum number of entries kept from a field.
const MOST_ENTRIES: usize = 16;
/// The maximum number of bytes kept from a name: enough for a generated host name.
const MOST_NAME: usize = 64;

#[cfg(test)]
mod tests;
