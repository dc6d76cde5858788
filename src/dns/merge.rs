//! Composes one DNS answer from the results of two families. Pure.
//!
//! Fresh addresses of either family come first. If there are none, old ones are used and marked stale. If the name is
//! known not to exist, old ones are not used either.

use tokio::time::Instant;

use super::Family;
use super::address_set::AddressSet;
use super::error::{DnsErrorReason, LookupFailure};
use super::order::interleave;
use super::record::{CachedAddresses, CachedRecord};

/// The state of one family.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FamilyState<'a> {
    pub(crate) fresh: Option<&'a CachedAddresses>,
    pub(crate) old: Option<&'a CachedAddresses>,
    pub(crate) is_gone: bool,
    pub(crate) failure: Option<&'a LookupFailure>,
    /// Whether there was no address at the last successful query.
    pub(crate) was_absent: bool,
}

impl<'a> FamilyState<'a> {
    pub(crate) fn of(latest: &'a CachedRecord, now: Instant) -> Self {
        Self {
            fresh: latest.fresh(now),
            old: latest.old(now),
            is_gone: latest.is_gone(),
            failure: latest.failure(),
            was_absent: latest.was_absent(now),
        }
    }

    /// Returns whether the family has a result: addresses, or that there are none.
    fn is_answered(&self) -> bool {
        let negative = self
            .failure
            .is_some_and(|family| family.reason.is_negative());
        self.fresh.is_some() || negative
    }
}

/// A DNS answer, until a newer result comes.
#[derive(Clone, Debug)]
pub(crate) struct MergedAnswer {
    pub(crate) listed: AddressSet,
    /// When they were received. For two families, the earlier of the two times.
    pub(crate) at: Instant,
    /// The end of their TTL.
    pub(crate) ends: Instant,
    pub(crate) stale: bool,
    pub(crate) missing: Option<Family>,
}

/// The reason why there are no addresses.
#[derive(Clone, Debug)]
pub(crate) struct NoAnswer {
    pub(crate) failure: LookupFailure,
    /// Whether the last successful query found no address, before the current failure.
    pub(crate) was_absent: bool,
}

/// Composes the addresses of both families, in the order of [`Family::BOTH`]. Without addresses, returns the worst
/// failure.
pub(crate) fn compose(families: [FamilyState<'_>; 2]) -> Result<MergedAnswer, NoAnswer> {
    let fresh = families.map(|family| family.fresh);
    if let Some(composed) = join(fresh, &families) {
        return Ok(composed);
    }
    if let Some(composed) = join(servable(&families), &families) {
        return Ok(MergedAnswer {
            stale: true,
            ..composed
        });
    }
    let failures = families
        .into_iter()
        .filter_map(|family| family.failure.cloned());
    let worst = failures.reduce(LookupFailure::worst);
    Err(NoAnswer {
        failure: worst.unwrap_or_else(|| LookupFailure::new(DnsErrorReason::Timeout)),
        was_absent: families.iter().all(|family| family.was_absent),
    })
}

/// The old results that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StaleFallback {
    Addresses,
    /// The earlier result that there are none.
    Absence,
    Nothing,
}

pub(crate) fn old(families: &[FamilyState<'_>; 2]) -> StaleFallback {
    if servable(families).iter().any(Option::is_some) {
        StaleFallback::Addresses
    } else if families.iter().all(|family| family.was_absent) {
        StaleFallback::Absence
    } else {
        StaleFallback::Nothing
    }
}

/// Returns the old addresses that may be used. If a name does not exist, that holds for both families (RFC 8020).
fn servable<'a>(families: &[FamilyState<'a>; 2]) -> [Option<&'a CachedAddresses>; 2] {
    if families.iter().any(|family| family.is_gone) {
        return [None, None];
    }
    families.map(|family| family.old)
}

fn join(
    known: [Option<&CachedAddresses>; 2],
    families: &[FamilyState<'_>; 2],
) -> Option<MergedAnswer> {
    let used = known.iter().flatten();
    let at = used.clone().map(|known| known.at).min()?;
    let ends = used.clone().map(|known| known.until).min()?;
    let addresses: Vec<_> = used.flat_map(|k| k.addresses.iter().copied()).collect();
    let is_missing = |family: &Family| {
        known[family.index()].is_none() && !families[family.index()].is_answered()
    };
    Some(MergedAnswer {
        listed: AddressSet::new(interleave(&addresses)),
        at,
        ends,
        stale: false,
        missing: Family::BOTH.into_iter().find(is_missing),
    })
}
