//! A moment of NXDOMAIN loses nothing: pure.
//!
//! A record may be deleted and made again within seconds: a deployment, a zone that loads in part. A client that asks
//! in between gets a negative response, and caches give it again for its negative TTL. So addresses that worked until
//! now are kept until the denial was confirmed:
//!
//! ```text
//!  first denial      + 2 s          + negative TTL, at most 60 s, + 1 s
//!       ├──────────────┼───────────────────────────┤
//!       │ addresses are kept, marked stale         │ a denial from then on is believed
//!                      └ asked again: authorities without a cache in between know by then
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::error::Reason;

/// Negative responses of one family of a name, without an address in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Denial {
    /// Only the same reason confirms: a name without IPv6 addresses still exists.
    pub(crate) reason: Reason,
    since: Instant,
    believed_from: Instant,
}

impl Denial {
    /// A first negative response, which caches may give again for `ttl`.
    pub(crate) fn new(reason: Reason, now: Instant, ttl: Duration) -> Self {
        Self {
            reason,
            since: now,
            believed_from: now + ttl.min(KEPT) + ROUNDING,
        }
    }

    /// Whether a negative response at this time confirms the first one.
    pub(crate) fn is_believed(&self, now: Instant) -> bool {
        self.believed_from <= now
    }

    /// When to ask again, after a negative response that is not believed.
    pub(crate) fn ask_again(&self, now: Instant) -> Instant {
        let soon = self.since + SOON;
        if now < soon {
            soon.min(self.believed_from)
        } else {
            self.believed_from
        }
    }

    /// The end of the addresses that are kept, if nothing is heard until then.
    pub(crate) fn end(&self) -> Instant {
        self.since + KEPT + ROUNDING
    }
}

/// How long addresses are kept at most. Addresses whose end is longer ago did not work until now.
pub(crate) const KEPT: Duration = Duration::from_secs(60);
/// Caches count in whole seconds: one may give the first denial again for this much longer.
const ROUNDING: Duration = Duration::from_secs(1);
/// Authorities that are asked directly have the record again by then, as a rule.
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
            let denial = Denial::new(Reason::NotFound, now, millis(ttl));
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
