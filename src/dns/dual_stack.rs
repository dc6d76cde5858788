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
use crate::timeout::Timeout;

/// One family of a name that is being resolved.
#[derive(Debug)]
pub(crate) enum FamilyLookup {
    Heard(CachedRecord),
    Out {
        since: Instant,
        /// Whether it is worth waiting for: see [`Rules::is_hoped`](super::record::Rules::is_hoped).
        hoped: bool,
        /// Whether it follows a failure, so that silence is expected.
        failing: bool,
        /// The earlier result, until a newer one comes.
        before: Option<CachedRecord>,
        landing: QueryHandle,
    },
}

impl FamilyLookup {
    async fn landed(&mut self) -> CachedRecord {
        let Self::Out {
            landing, before, ..
        } = self
        else {
            return std::future::pending().await;
        };
        match landing.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(heard)) => heard.clone(),
            Ok(None) | Err(_) => {
                let failure = LookupFailure::because(DnsErrorReason::Timeout, Abandoned);
                let now = clock::now();
                CachedRecord::abandoned(failure, before.as_ref(), now)
            }
        }
    }

    fn said(&self, now: Instant) -> FamilyState<'_> {
        match self {
            Self::Heard(heard) => FamilyState::of(heard, now),
            Self::Out { before, .. } => FamilyState {
                old: before.as_ref().and_then(|before| before.old(now)),
                was_absent: before.as_ref().is_some_and(|b| b.was_absent(now)),
                ..FamilyState::default()
            },
        }
    }

    fn out_since(&self) -> Option<Instant> {
        match self {
            Self::Out { since, .. } => Some(*since),
            Self::Heard(_) => None,
        }
    }

    /// Returns since when the lookup waits for it, if the wait is worth it.
    fn hoped_since(&self) -> Option<Instant> {
        match self {
            Self::Out {
                since, hoped: true, ..
            } => Some(*since),
            Self::Out { .. } | Self::Heard(_) => None,
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

/// The state of a lookup when it comes to a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookupTerms {
    pub(crate) begun: Instant,
    /// How long the caller waits at most.
    pub(crate) limit: Timeout,
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
    pub(crate) fn new(legs: [FamilyLookup; 2], errand: LookupTerms) -> Self {
        // The lookup that asked first has waited the longest.
        let since = legs.iter().filter_map(FamilyLookup::out_since).max();
        let begun = since.map_or(errand.begun, |since| since.min(errand.begun));
        Self {
            legs,
            patient_until: begun + PATIENCE.min(errand.limit.get() / 2),
            last: errand.last,
        }
    }

    /// Returns whether there is a result, or when there will be one.
    pub(crate) fn verdict(&self, now: Instant) -> Readiness {
        let fresh = self.legs.iter().find_map(|leg| match leg {
            FamilyLookup::Heard(heard) => heard.fresh(now).map(|_| heard.at),
            FamilyLookup::Out { .. } => None,
        });
        let hoped = self.legs.iter().filter_map(FamilyLookup::hoped_since).max();
        let until = match (&self.legs, fresh, hoped) {
            ([FamilyLookup::Heard(_), FamilyLookup::Heard(_)], ..) => return Readiness::Ready,
            // From the later of the two times: an old result must not make a new query look overdue.
            (_, Some(at), Some(since)) => at.max(since) + RESOLUTION_DELAY,
            (_, Some(_), None) => return Readiness::Ready,
            (_, None, _) => match self.old(now) {
                StaleFallback::Nothing => return Readiness::Open,
                StaleFallback::Absence if self.last => return Readiness::Open,
                StaleFallback::Addresses if hoped.is_none() => return Readiness::Ready,
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
            let (family, heard) = tokio::select! {
                biased;
                heard = six.landed() => (Family::V6, heard),
                heard = four.landed() => (Family::V4, heard),
                () = sleep_until(delay.unwrap_or_else(clock::now)), if delay.is_some() => break,
            };
            self.legs[family.index()] = FamilyLookup::Heard(heard);
        }
        self.answer(clock::now())
    }

    /// Returns the result of both families: the addresses of either, else the worst failure.
    pub(crate) fn answer(&self, now: Instant) -> Result<MergedAnswer, NoAnswer> {
        let [six, four] = &self.legs;
        compose([six.said(now), four.said(now)])
    }

    fn old(&self, now: Instant) -> StaleFallback {
        let [six, four] = &self.legs;
        old(&[six.said(now), four.said(now)])
    }

    /// Returns whether the lookup waits only for queries that have just failed.
    fn is_failing(&self) -> bool {
        self.legs.iter().all(|leg| match leg {
            FamilyLookup::Out { failing, .. } => *failing,
            FamilyLookup::Heard(_) => true,
        })
    }
}

/// The task of the query was dropped, by a runtime that shut down, or by a panic.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task that asked the name server was dropped")
    }
}

impl std::error::Error for Abandoned {}

/// RFC 8305 §3.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How long servers may be silent before an old result is used (RFC 8767 §5); half of the limit, if that is less.
const PATIENCE: Duration = Duration::from_millis(1_800);
