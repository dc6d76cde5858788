//! The last result for one family of a name, and its consequences. Pure.
//!
//! ```text
//!  QueryOutcome ──weigh──▶ CachedRecord { known, failure, at, until, refresh }      it is valid while now < until
//!    addresses            TTL, clamped; 0 stays 0: valid for this lookup only
//!    missing              the SOA's, clamped; no SOA: the floor; addresses that worked until now are kept
//!                         until that is confirmed ([`Denial`])
//!    failed               backoff, doubled for each failure in a row; earlier results stay
//!    not sent             not cached: this process lacked the resources
//!
//!  CachedAddresses          at ─────── fresh ──────▶ until ──────── old ────────▶ old_until
//!                             └ refresh: at 80 to 90 % of the TTL
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::denial::{Denial, KEPT};
use super::error::{DnsErrorReason, LookupFailure};
use super::query::QueryOutcome;

/// The last result for one family of a name.
#[derive(Clone, Debug)]
pub(crate) struct CachedRecord {
    /// The addresses of the last result that had some, even if it is old. A failure does not remove them; another
    /// result does.
    known: Option<CachedAddresses>,
    /// Why there are no addresses, or no newer ones.
    failure: Option<LookupFailure>,
    /// The negative responses since the last address.
    denial: Option<Denial>,
    /// Until when an earlier result "no addresses" is better than the failure that came after it.
    absent_until: Option<Instant>,
    pub(crate) at: Instant,
    /// Until this instant, lookups need no query.
    pub(crate) until: Instant,
    /// From this instant on, a query runs in the background while the result is still valid.
    pub(crate) refresh: Instant,
    /// The number of failures in a row.
    streak: u32,
}

/// Addresses, and how long they are valid.
#[derive(Clone, Debug)]
pub(crate) struct CachedAddresses {
    pub(crate) addresses: Arc<[IpAddr]>,
    pub(crate) at: Instant,
    pub(crate) until: Instant,
    /// Until when expired addresses are better than none (RFC 8767).
    old_until: Instant,
}

impl CachedAddresses {
    fn is_old(&self, now: Instant) -> bool {
        self.until <= now && now < self.old_until
    }
}

impl CachedRecord {
    /// Creates a failure that the waiting lookups get, and that is not cached.
    pub(crate) fn not_cached(
        failure: LookupFailure,
        known: Option<CachedAddresses>,
        now: Instant,
    ) -> Self {
        Self {
            known,
            failure: Some(failure),
            denial: None,
            absent_until: None,
            at: now,
            until: now,
            refresh: now,
            streak: 0,
        }
    }

    /// Returns the result for the waiting lookups if it is not cached: a new query is possible immediately.
    pub(crate) fn forgotten(mut self) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.again = None;
        }
        self
    }

    /// Creates a temporary failure: the task of the query was dropped, or this process could not send it. The result
    /// `before` stays as valid as it was.
    pub(crate) fn abandoned(failure: LookupFailure, before: Option<&Self>, now: Instant) -> Self {
        Self {
            absent_until: before.and_then(|before| before.absent_until),
            denial: before.and_then(|before| before.denial),
            ..Self::not_cached(failure, before.and_then(|b| b.known.clone()), now)
        }
    }

    /// Returns whether it is valid without a query.
    pub(crate) fn is_valid(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Delays the next query in the background, after one that this process could not send.
    pub(crate) fn postpone(&mut self, now: Instant) {
        self.refresh = self.refresh.max(now + POSTPONED);
    }

    /// Returns the addresses within their TTL. Those of a result that has just come are included, whatever their TTL,
    /// because a lookup waited for them.
    pub(crate) fn fresh(&self, now: Instant) -> Option<&CachedAddresses> {
        let known = self.known.as_ref();
        known.filter(|known| self.failure.is_none() || now < known.until)
    }

    /// Returns expired addresses that may be used until a newer result comes.
    pub(crate) fn old(&self, now: Instant) -> Option<&CachedAddresses> {
        self.known.as_ref().filter(|known| known.is_old(now))
    }

    /// Returns whether it has addresses that a lookup may use, fresh or old.
    pub(crate) fn has_addresses(&self, now: Instant) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| now < known.old_until)
    }

    /// Returns whether a confirmed denial says that the name does not exist. That holds for both families (RFC 8020).
    pub(crate) fn is_gone(&self) -> bool {
        let is_missing = |failure: &LookupFailure| failure.reason == DnsErrorReason::NotFound;
        let is_believed = |denial: &Denial| denial.is_believed(self.at);
        self.failure.as_ref().is_some_and(is_missing)
            && self.denial.as_ref().is_some_and(is_believed)
    }

    /// Expires the result: the addresses are old immediately, and failures are over.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.until = self.until.min(now);
        self.streak = 0;
        self.denial = None;
        if let Some(known) = &mut self.known {
            known.until = known.until.min(now);
            self.failure = None;
        }
    }

    /// Returns whether the last successful query found no address, and no newer result has come.
    pub(crate) fn was_absent(&self, now: Instant) -> bool {
        self.absent_until.is_some_and(|until| now < until)
    }

    pub(crate) fn failure(&self) -> Option<&LookupFailure> {
        self.failure.as_ref()
    }

    /// Returns when the addresses that this result gives will change.
    pub(crate) fn changes_at(&self, now: Instant) -> Instant {
        let change = match &self.known {
            Some(known) if now < known.until => known.until,
            Some(known) if now < known.old_until => known.old_until,
            _ => self.until,
        };
        change.min(self.until)
    }

    /// Returns whether a background query is due.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.known.is_some() && self.refresh <= now
    }

    /// Returns whether a failed connection permits a new query: not within the backoff of a failure.
    pub(crate) fn may_be_doubted(&self, now: Instant) -> bool {
        self.failed().is_none() || self.refresh <= now
    }

    /// Returns whether the addresses changed. A failure, or the end of one, is not a change.
    pub(crate) fn differs_from(&self, before: &Self) -> bool {
        let set = |latest: &Self| match (&latest.known, latest.failed()) {
            (Some(known), _) => Some(sorted(&known.addresses)),
            (None, Some(_)) => None,
            (None, None) => Some(Vec::new()),
        };
        match (set(self), set(before)) {
            (Some(now), Some(before)) => now != before,
            (None, _) | (_, None) => false,
        }
    }

    /// Returns why there is no newer result. A denial is not a failure.
    fn failed(&self) -> Option<DnsErrorReason> {
        let reason = self.failure.as_ref()?.reason;
        (!reason.is_negative()).then_some(reason)
    }
}

/// The config of a cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CachePolicy {
    pub(crate) floor: Duration,
    pub(crate) ceiling: Duration,
    pub(crate) negative_ceiling: Duration,
    pub(crate) backoff: (Duration, Duration),
    /// How long addresses are used after their end while no server responds. `None`: not at all.
    pub(crate) stale: Option<Duration>,
    /// The number of names, not of records: both families of a name share one place.
    pub(crate) capacity: usize,
}

impl CachePolicy {
    /// Returns the result of an outcome at an instant. `luck`, in `[0, 1)`, spreads the refreshes of names that were
    /// received together.
    pub(crate) fn weigh(
        &self,
        outcome: QueryOutcome,
        before: Option<&CachedRecord>,
        (now, luck): (Instant, f64),
    ) -> CachedRecord {
        match outcome {
            QueryOutcome::Addresses { mut addresses, ttl } => {
                addresses.truncate(ADDRESSES);
                self.resolved((addresses.into(), ttl), before, (now, luck))
            }
            QueryOutcome::Nothing { failure, ttl } if failure.reason.is_negative() => {
                self.denied((failure, ttl), before, now)
            }
            QueryOutcome::Nothing { failure, .. } if failure.is_local() => {
                CachedRecord::abandoned(failure, before, now)
            }
            QueryOutcome::Nothing { failure, .. } => self.failed(failure, before, now),
        }
    }

    fn resolved(
        &self,
        (addresses, ttl): (Arc<[IpAddr]>, Duration),
        before: Option<&CachedRecord>,
        (now, luck): (Instant, f64),
    ) -> CachedRecord {
        let good_for = self.positive(ttl);
        let until = now + good_for;
        let old_until = match self.stale {
            Some(stale) if !good_for.is_zero() => until + stale,
            // Addresses for a single use are not kept as old ones. But a zero after a longer TTL only comes from the
            // last second of a cache. It is not intended, so the stale limit continues as before.
            Some(_) => {
                let known = before.and_then(|before| before.known.as_ref());
                known.map_or(until, |known| known.old_until.max(until))
            }
            None => until,
        };
        let known = CachedAddresses {
            addresses,
            at: now,
            until,
            old_until,
        };
        CachedRecord {
            known: Some(known),
            failure: None,
            denial: None,
            absent_until: None,
            at: now,
            until,
            refresh: now + good_for.mul_f64(EARLY + EARLY_SPREAD * luck),
            streak: 0,
        }
    }

    fn denied(
        &self,
        (failure, ttl): (LookupFailure, Option<Duration>),
        before: Option<&CachedRecord>,
        now: Instant,
    ) -> CachedRecord {
        let ttl = self.negative(ttl);
        let going_on = before.and_then(|before| before.denial);
        let same = going_on.filter(|denial| denial.reason == failure.reason);
        let denial = same.unwrap_or_else(|| Denial::new(failure.reason, now, ttl));
        let known = before.filter(|before| {
            let worked_until_now = going_on.is_some() || now < before.until + KEPT;
            worked_until_now && !denial.is_believed(now)
        });
        let known = known
            .and_then(|before| before.known.clone())
            .map(|known| CachedAddresses {
                until: known.until.min(now),
                old_until: known.old_until.min(denial.end()),
                ..known
            });
        let known = known.filter(|known| known.is_old(now));
        let absent = now + ttl;
        let kept = known
            .as_ref()
            .map(|known| (known.old_until, denial.ask_again(now)));
        let (until, refresh) = kept.unwrap_or((absent, absent));
        CachedRecord {
            denial: Some(denial),
            absent_until: self.stale.map(|stale| absent + stale),
            until,
            refresh,
            ..CachedRecord::not_cached(failure, known, now)
        }
    }

    fn failed(
        &self,
        failure: LookupFailure,
        before: Option<&CachedRecord>,
        now: Instant,
    ) -> CachedRecord {
        let streak = self.streak(before, now) + 1;
        let retry = now + self.back_off(streak);
        let known = before.and_then(|before| before.known.clone());
        let known = known.filter(|known| now < known.old_until);
        let failure = LookupFailure {
            again: Some(retry),
            ..failure
        };
        CachedRecord {
            absent_until: before.and_then(|before| before.absent_until),
            denial: before.and_then(|before| before.denial),
            until: known.as_ref().map_or(retry, |known| known.until.max(retry)),
            refresh: retry,
            streak,
            ..CachedRecord::not_cached(failure, known, now)
        }
    }

    /// Returns whether a new result for this family is worth waiting for. If it had no addresses, or has just failed,
    /// the query runs in the background.
    pub(crate) fn is_worth_waiting(&self, latest: Option<&CachedRecord>, now: Instant) -> bool {
        let Some(latest) = latest else { return true };
        match latest.failure {
            None => true,
            // An old failure does not show the current state.
            Some(_) => latest.old(now).is_some() && !self.is_in_a_row(latest, now),
        }
    }

    /// Returns whether the last query failed recently.
    pub(crate) fn is_failing(&self, latest: &CachedRecord, now: Instant) -> bool {
        latest.failed().is_some() && self.is_in_a_row(latest, now)
    }

    /// Returns the TTL within the bounds. A TTL of zero has a meaning of its own (RFC 1035 §3.2.1), so the floor does
    /// not raise it. A TTL with the highest bit set is a large number and not a negative one (RFC 8767 §4).
    fn positive(&self, ttl: Duration) -> Duration {
        if ttl.is_zero() {
            return ttl;
        }
        ttl.max(self.floor).min(self.ceiling)
    }

    /// Returns how long a denial is cached. Without an SOA it has no authority, and should not be cached (RFC 2308 §5).
    /// But a query for each request to a misspelled name does not help either.
    fn negative(&self, ttl: Option<Duration>) -> Duration {
        let ttl = ttl.map_or(self.floor, |ttl| ttl.max(self.floor));
        ttl.min(self.negative_ceiling)
    }

    fn streak(&self, before: Option<&CachedRecord>, now: Instant) -> u32 {
        before
            .filter(|before| self.is_in_a_row(before, now))
            .map_or(0, |before| before.streak)
    }

    /// Returns whether failures are in a row: the next query came soon after the wait.
    fn is_in_a_row(&self, before: &CachedRecord, now: Instant) -> bool {
        now < before.until + self.backoff.1
    }

    pub(super) fn back_off(&self, streak: u32) -> Duration {
        let (first, most) = self.backoff;
        let doubled = first.saturating_mul(1_u32.checked_shl(streak - 1).unwrap_or(u32::MAX));
        doubled.min(most)
    }
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    addresses
}

/// The maximum number of addresses of one family: more than any client tries, less than a hostile answer contains.
pub(super) const ADDRESSES: usize = 128;
/// The share of its TTL after which a result is refreshed. It is late enough to save queries, and early enough for a
/// query to end before the TTL does.
const EARLY: f64 = 0.8;
/// A process without free descriptors must not try to query for each lookup of a name in use.
const POSTPONED: Duration = Duration::from_secs(1);
/// The range over which the refreshes are spread of names that were received together.
const EARLY_SPREAD: f64 = 0.1;
