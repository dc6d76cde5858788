//! Composes one DNS answer from the results of two families. Pure.
//!
//! Fresh addresses of either family come first. If there are none, old ones are used and marked stale. If the name is
//! known not to exist, old ones are not used either.

use tokio::time::Instant;

use super::Family;
use super::error::{DnsErrorReason, Failure};
use super::heard::{Heard, Known};
use super::listed::Listed;
use super::order::interleave;

/// The state of one family.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) fresh: Option<&'a Known>,
    pub(crate) old: Option<&'a Known>,
    pub(crate) is_gone: bool,
    pub(crate) failure: Option<&'a Failure>,
    /// Whether there was no address at the last successful query.
    pub(crate) was_absent: bool,
}

impl<'a> Said<'a> {
    pub(crate) fn of(heard: &'a Heard, now: Instant) -> Self {
        Self {
            fresh: heard.fresh(now),
            old: heard.old(now),
            is_gone: heard.is_gone(),
            failure: heard.failure(),
            was_absent: heard.was_absent(now),
        }
    }

    /// Returns whether the family has a result: addresses, or that there are none.
    fn is_answered(&self) -> bool {
        let negative = self.failure.is_some_and(|said| said.reason.is_negative());
        self.fresh.is_some() || negative
    }
}

/// A DNS answer, until a newer result comes.
#[derive(Clone, Debug)]
pub(crate) struct Composed {
    pub(crate) listed: Listed,
    /// When they were received. For two families, the earlier of the two times.
    pub(crate) at: Instant,
    /// The end of their TTL.
    pub(crate) ends: Instant,
    pub(crate) stale: bool,
    pub(crate) missing: Option<Family>,
}

/// The reason why there are no addresses.
#[derive(Clone, Debug)]
pub(crate) struct Nothing {
    pub(crate) failure: Failure,
    /// Whether the last successful query found no address, before the current failure.
    pub(crate) was_absent: bool,
}

/// Composes the addresses of both families, in the order of [`Family::BOTH`]. Without addresses, returns the worst
/// failure.
pub(crate) fn compose(said: [Said<'_>; 2]) -> Result<Composed, Nothing> {
    let fresh = said.map(|said| said.fresh);
    if let Some(composed) = join(fresh, &said) {
        return Ok(composed);
    }
    if let Some(composed) = join(servable(&said), &said) {
        return Ok(Composed {
            stale: true,
            ..composed
        });
    }
    let failures = said.into_iter().filter_map(|said| said.failure.cloned());
    let worst = failures.reduce(Failure::worst);
    Err(Nothing {
        failure: worst.unwrap_or_else(|| Failure::new(DnsErrorReason::Timeout)),
        was_absent: said.iter().all(|said| said.was_absent),
    })
}

/// The old results that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    Addresses,
    /// The earlier result that there are none.
    Absence,
    Nothing,
}

pub(crate) fn old(said: &[Said<'_>; 2]) -> Old {
    if servable(said).iter().any(Option::is_some) {
        Old::Addresses
    } else if said.iter().all(|said| said.was_absent) {
        Old::Absence
    } else {
        Old::Nothing
    }
}

/// Returns the old addresses that may be used. If a name does not exist, that holds for both families (RFC 8020).
fn servable<'a>(said: &[Said<'a>; 2]) -> [Option<&'a Known>; 2] {
    if said.iter().any(|said| said.is_gone) {
        return [None, None];
    }
    said.map(|said| said.old)
}

fn join(known: [Option<&Known>; 2], said: &[Said<'_>; 2]) -> Option<Composed> {
    let used = known.iter().flatten();
    let at = used.clone().map(|known| known.at).min()?;
    let ends = used.clone().map(|known| known.until).min()?;
    let addresses: Vec<_> = used.flat_map(|k| k.addresses.iter().copied()).collect();
    let is_missing =
        |family: &Family| known[family.index()].is_none() && !said[family.index()].is_answered();
    Some(Composed {
        listed: Listed::new(interleave(&addresses)),
        at,
        ends,
        stale: false,
        missing: Family::BOTH.into_iter().find(is_missing),
    })
}
