//! Combines two families into one answer. It decides how long the faster one waits for the slower one, and how long
//! both wait for a silent server.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Family;
use super::error::{DnsErrorReason, LookupFailure};
use super::merge::{FamilyState, MergedAnswer, NoAnswer, StaleFallback, compose, old};
use super::record::CachedRecord;
use crate::clock;

/// One family of a name that is being resolved.
#[derive(Debug)]
pub(crate) enum FamilyLookup {
    Resolved(CachedRecord),
    Pending {
        since: Instant,
        /// Whether it is worth waiting for: see [`CachePolicy::is_worth_waiting`](super::record::CachePolicy::is_worth_waiting).
        worth_waiting: bool,
        /// Whether it follows a failure, so that silence is expected.
        failing: bool,
        /// The earlier result, until a newer one comes.
        before: Option<CachedRecord>,
        result: QueryHandle,
    },
}

impl FamilyLookup {
    async fn receive(&mut self) -> CachedRecord {
        let Self::Pending { result, before, .. } = self else {
            return std::future::pending().await;
        };
        match result.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(latest)) => latest.clone(),
            Ok(None) | Err(_) => {
                let failure = LookupFailure::because(DnsErrorReason::Timeout, Abandoned);
                let now = clock::now();
                CachedRecord::abandoned(failure, before.as_ref(), now)
            }
        }
    }

    fn state(&self, now: Instant) -> FamilyState<'_> {
        match self {
            Self::Resolved(latest) => FamilyState::of(latest, now),
            Self::Pending { before, .. } => FamilyState {
                old: before.as_ref().and_then(|before| before.old(now)),
                was_absent: before.as_ref().is_some_and(|b| b.was_absent(now)),
                ..FamilyState::default()
            },
        }
    }

    fn pending_since(&self) -> Option<Instant> {
        match self {
            Self::Pending { since, .. } => Some(*since),
            Self::Resolved(_) => None,
        }
    }

    /// Returns since when the lookup waits for it, if it is worth waiting for.
    fn worth_waiting_since(&self) -> Option<Instant> {
        match self {
            Self::Pending {
                since,
                worth_waiting: true,
                ..
            } => Some(*since),
            Self::Pending { .. } | Self::Resolved(_) => None,
        }
    }
}

/// Both families of a name.
#[derive(Debug)]
pub(crate) struct DualStack {
    legs: [FamilyLookup; 2],
    /// When the lookup has waited long enough for silent servers, and uses an old result.
    patient_until: Instant,
    last: bool,
}

/// Receives the result of a query.
pub(crate) type QueryHandle = watch::Receiver<Option<CachedRecord>>;

/// The conditions of a lookup for the current name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookupTerms {
    pub(crate) begun: Instant,
    /// The maximum time that the caller waits.
    pub(crate) limit: Duration,
    /// Whether there is no further name to try. Then an old result "no addresses" is not used.
    pub(crate) last: bool,
}

/// The state of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Waiting longer is useless.
    Ready,
    /// There is a result, but a better one is waited for until this instant.
    Until(Instant),
    /// There is no result yet.
    Open,
}

impl DualStack {
    /// `legs` are in the order of [`Family::BOTH`].
    pub(crate) fn new(legs: [FamilyLookup; 2], terms: LookupTerms) -> Self {
        // The earliest lookup has waited the longest.
        let since = legs.iter().filter_map(FamilyLookup::pending_since).max();
        let begun = since.map_or(terms.begun, |since| since.min(terms.begun));
        Self {
            legs,
            patient_until: begun + PATIENCE.min(terms.limit / 2),
            last: terms.last,
        }
    }

    /// Returns whether there is a result, or when there will be one.
    pub(crate) fn verdict(&self, now: Instant) -> Readiness {
        let fresh = self.legs.iter().find_map(|leg| match leg {
            FamilyLookup::Resolved(latest) => latest.fresh(now).map(|_| latest.at),
            FamilyLookup::Pending { .. } => None,
        });
        let worth_waiting = self
            .legs
            .iter()
            .filter_map(FamilyLookup::worth_waiting_since)
            .max();
        let until = match (&self.legs, fresh, worth_waiting) {
            ([FamilyLookup::Resolved(_), FamilyLookup::Resolved(_)], ..) => {
                return Readiness::Ready;
            }
            // From the later of the two times: an old result must not make a new query look overdue.
            (_, Some(at), Some(since)) => at.max(since) + RESOLUTION_DELAY,
            (_, Some(_), None) => return Readiness::Ready,
            (_, None, _) => match self.old(now) {
                StaleFallback::Nothing => return Readiness::Open,
                StaleFallback::Absence if self.last => return Readiness::Open,
                StaleFallback::Addresses if worth_waiting.is_none() => return Readiness::Ready,
                StaleFallback::Absence if self.is_failing() => return Readiness::Ready,
                StaleFallback::Addresses | StaleFallback::Absence => self.patient_until,
            },
        };
        if now < until {
            Readiness::Until(until)
        } else {
            Readiness::Ready
        }
    }

    /// Waits for the result.
    pub(crate) async fn wait(&mut self) -> Result<MergedAnswer, NoAnswer> {
        loop {
            let delay = match self.verdict(clock::now()) {
                Readiness::Ready => break,
                Readiness::Until(until) => Some(until),
                Readiness::Open => None,
            };
            let [six, four] = &mut self.legs;
            let (family, latest) = tokio::select! {
                biased;
                latest = six.receive() => (Family::V6, latest),
                latest = four.receive() => (Family::V4, latest),
                () = sleep_until(delay.unwrap_or_else(clock::now)), if delay.is_some() => break,
            };
            self.legs[family.index()] = FamilyLookup::Resolved(latest);
        }
        self.answer(clock::now())
    }

    /// Returns the result of both families: the addresses of either, else the worst failure.
    pub(crate) fn answer(&self, now: Instant) -> Result<MergedAnswer, NoAnswer> {
        let [six, four] = &self.legs;
        compose([six.state(now), four.state(now)])
    }

    fn old(&self, now: Instant) -> StaleFallback {
        let [six, four] = &self.legs;
        old(&[six.state(now), four.state(now)])
    }

    /// Returns whether the lookup waits only for queries that have just failed.
    fn is_failing(&self) -> bool {
        self.legs.iter().all(|leg| match leg {
            FamilyLookup::Pending { failing, .. } => *failing,
            FamilyLookup::Resolved(_) => true,
        })
    }
}

/// Waits for the end of a query. Returns whether it found addresses. A query that was dropped has no result.
pub(crate) async fn has_found(mut result: QueryHandle) -> bool {
    let latest = result.wait_for(Option::is_some).await;
    let latest = latest.as_deref().ok().and_then(Option::as_ref);
    latest.is_some_and(|latest| latest.failure().is_none())
}

/// The task of the query was dropped, by a runtime that shut down, or by a panic.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task that queried the name server was dropped")
    }
}

impl std::error::Error for Abandoned {}

/// RFC 8305 §3.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How long servers may be silent before an old result is used (RFC 8767 §5); half of the timeout, if that is less.
const PATIENCE: Duration = Duration::from_millis(1_800);

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(Abandoned: super::Abandoned);
}
