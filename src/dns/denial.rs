//! A short NXDOMAIN loses no addresses. Pure.
//!
//! A record may be deleted and created again within seconds, by a deployment or a zone that is only partly loaded. A
//! client that asks in between gets a negative response, and caches return it again for its negative TTL. So addresses
//! that worked until now are kept until the denial is confirmed:
//!
//! ```text
//!  first denial      + 2 s          + negative TTL, at most 60 s, + 1 s
//!       ├──────────────┼───────────────────────────┤
//!       │ addresses are kept, marked stale         │ a denial from then on is accepted
//!                      └ queried again: an authority without a cache in between usually knows by then
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::error::DnsErrorReason;

/// Negative responses of one family of a name, without an address in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Denial {
    /// Only the same reason confirms the denial: a name without IPv6 addresses may still exist.
    pub(crate) reason: DnsErrorReason,
    since: Instant,
    believed_from: Instant,
}

impl Denial {
    /// Creates a denial from a first negative response. Caches may return it again for `ttl`.
    pub(crate) fn new(reason: DnsErrorReason, now: Instant, ttl: Duration) -> Self {
        Self {
            reason,
            since: now,
            believed_from: now + ttl.min(KEPT) + ROUNDING,
        }
    }

    /// Returns whether a negative response at this time confirms the first one.
    pub(crate) fn is_believed(&self, now: Instant) -> bool {
        self.believed_from <= now
    }

    /// Returns when to query again after a negative response that is not confirmed.
    pub(crate) fn ask_again(&self, now: Instant) -> Instant {
        let soon = self.since + SOON;
        if now < soon {
            soon.min(self.believed_from)
        } else {
            self.believed_from
        }
    }

    /// Returns the end of the kept addresses, if no result comes before.
    pub(crate) fn end(&self) -> Instant {
        self.since + KEPT + ROUNDING
    }
}

/// The longest time for which addresses are kept. Addresses that expired earlier than that are not kept.
pub(crate) const KEPT: Duration = Duration::from_secs(60);
/// Caches count in whole seconds: a cache may return the first denial for this much longer.
const ROUNDING: Duration = Duration::from_secs(1);
/// By then, authoritative servers that are asked directly usually have the record again.
const SOON: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_is_asked_about_at_2_s_and_believed_after_its_own_ttl() {
        let (now, millis) = (Instant::now(), Duration::from_millis);
        for (ttl, again_at, believed_from) in [
            (60_000, [2_000, 61_000], 61_000),
            (3_600_000, [2_000, 61_000], 61_000),
            (10_000, [2_000, 11_000], 11_000),
            (500, [1_500, 1_500], 1_500),
        ] {
            let denial = Denial::new(DnsErrorReason::NotFound, now, millis(ttl));
            let believed_from = now + millis(believed_from);
            assert!(!denial.is_believed(believed_from - millis(1)), "{ttl}");
            assert!(denial.is_believed(believed_from), "{ttl}");
            assert_eq!(denial.ask_again(now), now + millis(again_at[0]), "{ttl}");
            let asked = now + millis(2_000);
            assert_eq!(denial.ask_again(asked), now + millis(again_at[1]), "{ttl}");
            assert_eq!(denial.end(), now + millis(61_000), "{ttl}");
        }
    }
}
