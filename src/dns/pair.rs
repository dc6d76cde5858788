//! Two families, one answer: how long the faster one waits for the slower one.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::cache::{Heard, Held};
use super::error::{Failure, Reason};
use super::flight::{Abandoned, Landing};
use super::order::interleave;
use super::{Answer, Family};
use crate::clock;

/// One family of a name that is being resolved.
#[derive(Debug)]
pub(crate) enum Leg {
    Heard(Heard),
    Out {
        since: Instant,
        /// Whether it is worth waiting for: it had addresses, or was never heard of. One that had none, or
        /// failed, is asked on the side.
        hoped: bool,
        landing: Landing,
    },
}

impl Leg {
    async fn landed(&mut self) -> Heard {
        let Self::Out { landing, .. } = self else {
            return std::future::pending().await;
        };
        match landing.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(heard)) => heard.clone(),
            Ok(None) | Err(_) => {
                let failure = Failure::because(Reason::Timeout, Abandoned);
                Heard::passing(failure, clock::now())
            }
        }
    }
}

/// Both families of a name.
#[derive(Debug)]
pub(crate) struct Pair([Leg; 2]);

/// What a pair knows about its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is no point in waiting.
    Ready,
    /// Some family has addresses; the other one is waited for until then.
    Until(Instant),
    /// There is nothing to answer yet.
    Open,
}

impl Pair {
    /// `legs` are in the order of [`Family::BOTH`].
    pub(crate) fn new(legs: [Leg; 2]) -> Self {
        Self(legs)
    }

    /// Whether there is an answer, or when there will be.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        match &self.0 {
            [Leg::Heard(_), Leg::Heard(_)] => Verdict::Ready,
            [Leg::Heard(heard), Leg::Out { since, hoped, .. }]
            | [Leg::Out { since, hoped, .. }, Leg::Heard(heard)]
                if heard.addresses().is_some() =>
            {
                // From the later of the two, since what was known for long must not make a question that
                // was just put look overdue.
                let until = heard.at.max(*since) + RESOLUTION_DELAY;
                if *hoped && now < until {
                    Verdict::Until(until)
                } else {
                    Verdict::Ready
                }
            }
            _ => Verdict::Open,
        }
    }

    /// Waits until there is an answer, and gives it.
    pub(crate) async fn wait(mut self) -> Result<Answer, Failure> {
        loop {
            let delay = match self.verdict(clock::now()) {
                Verdict::Ready => break,
                Verdict::Until(until) => Some(until),
                Verdict::Open => None,
            };
            let [six, four] = &mut self.0;
            let (family, heard) = tokio::select! {
                biased;
                heard = six.landed() => (Family::V6, heard),
                heard = four.landed() => (Family::V4, heard),
                () = sleep_until(delay.unwrap_or_else(clock::now)), if delay.is_some() => break,
            };
            self.0[family.index()] = Leg::Heard(heard);
        }
        self.answer(clock::now())
    }

    /// The answer of what has been heard: the addresses of either family, else the worst of the failures.
    pub(crate) fn answer(&self, now: Instant) -> Result<Answer, Failure> {
        let (mut addresses, mut ends, mut worst) = (Vec::new(), None, None);
        for leg in &self.0 {
            let Leg::Heard(heard) = leg else { continue };
            match &heard.held {
                Held::Addresses(found) => {
                    addresses.extend_from_slice(found);
                    ends = Some(ends.map_or(heard.until, |ends: Instant| ends.min(heard.until)));
                }
                Held::Nothing(failure) => {
                    let failure = failure.clone();
                    worst = Some(match worst {
                        None => failure,
                        Some(worst) => Failure::worst(worst, failure),
                    });
                }
            }
        }
        match ends {
            Some(ends) => Ok(Answer {
                addresses: interleave(&addresses),
                ttl: ends.saturating_duration_since(now),
                cached: false,
            }),
            None => Err(worst.unwrap_or_else(|| Failure::new(Reason::Timeout))),
        }
    }
}

/// RFC 8305 §3.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
