//! The throttle of a driver: which window a request belongs to, and what the end of its attempt means.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::ThrottleConfig;
use super::decide::{Verdict, judge};
use super::state::{Counts, Permit, Rejection, Shared};
use crate::clock;
use crate::destination::Destination;
use crate::error::{Error, ReasonText};
use crate::hop::{Diagnosis, FailureClass, Kind};
use crate::luck::luck;
#[cfg(feature = "otel")]
use crate::metrics::Look;
use crate::policy::{DestinationKey, NamedRules, Subject, keyed};
use crate::registry::Registry;
use crate::retry_after::Hints;

/// A handle to the windows of a [`ThrottleLayer`](crate::ThrottleLayer). It is cheap to clone. Every clone of the
/// layer shares the windows.
///
/// # Example
///
/// ```
/// use sevenhops::{ThrottleConfig, ThrottleLayer};
///
/// let throttle = ThrottleLayer::new(ThrottleConfig::new())?.throttle_handle();
/// let api = "https://api.test".parse()?;
/// assert_eq!(throttle.accepted(&api), None); // no attempt yet
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ThrottleHandle(Arc<Registry<Shared>>);

impl ThrottleHandle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Registry::new(clock::now())))
    }

    /// Returns how many attempts of the window a destination accepted, and how many attempts there were, as of the
    /// latest one. `None` for an unknown destination.
    #[must_use]
    pub fn accepted(&self, destination: &Destination) -> Option<(u64, u64)> {
        let Counts { requests, accepts } = self.0.peek(destination, Shared::counts)?;
        Some((accepts, requests))
    }

    /// Returns a view for metrics: the attempts in the window of each destination, and those that were accepted.
    #[cfg(feature = "otel")]
    pub(crate) fn look(&self) -> Look<[u64; 2]> {
        Look::at(&self.0, |known| {
            let counts = |destination: &Destination, shared: &Shared| {
                let Counts { requests, accepts } = shared.counts();
                (destination.clone(), [requests, accepts])
            };
            known.each(counts)
        })
    }
}

impl fmt::Debug for ThrottleHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleHandle").finish_non_exhaustive()
    }
}

/// The throttle of a driver.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) throttle: ThrottleHandle,
    pub(crate) config: Arc<ThrottleConfig>,
    pub(crate) key: Option<DestinationKey>,
    pub(crate) rules: NamedRules<ThrottleConfig>,
    pub(crate) hints: Hints,
}

impl Policy {
    /// Decides whether an attempt may be sent; `None` if no window counts it.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the throttle.
    pub(crate) fn admit<B>(
        &self,
        subject: Subject<'_, B>,
        now: Instant,
    ) -> Result<Option<Ticket>, Error> {
        if !self.config.get_enabled() {
            return Ok(None);
        }
        let registry = (&*self.throttle.0, self.key.as_ref());
        let rules = |name: Option<&_>| self.rules.of(name, &*self.config, ThrottleConfig::rules);
        let new = |_: &_, rules| Shared::new(rules, now);
        let found = keyed::state_of(registry, subject, now, (rules, new))?;
        let admit = |(shared, rules): (Arc<Shared>, _)| shared.admit(rules, now, luck);
        let permit = found.map(admit).transpose().map_err(rejected)?;
        Ok(permit.map(|permit| Ticket {
            permit,
            hints: self.hints.clone(),
        }))
    }
}

/// Returns the error of an attempt that the throttle rejects.
fn rejected(rejection: Rejection) -> Error {
    let diagnosis = Diagnosis::refusal(Kind::ClientThrottled);
    let error = Error::refused(crate::hop::Policy::Throttle, diagnosis);
    let Counts { requests, accepts } = rejection.counts;
    let reason = format!("the destination accepted {accepts} of {requests} attempts");
    let error = error.caused_by(ReasonText::new(reason));
    match rejection.retry_after {
        Some(wait) => error.after(wait),
        None => error,
    }
}

/// An attempt that the throttle let through. If it is dropped before a response is here, it does not count.
pub(crate) struct Ticket {
    permit: Permit,
    hints: Hints,
}

impl Ticket {
    /// Handles the response head of the attempt. `is_failed` says that the classifier saw a failure in a success.
    pub(crate) fn head(
        self,
        (status, headers): (StatusCode, &HeaderMap),
        (class, is_failed): (Option<FailureClass>, bool),
        now: Instant,
    ) {
        let is_success = status.as_u16() < 400 && !is_failed;
        let hint = match is_success {
            true => None,
            false => self.hints.read(status, headers, clock::wall),
        };
        self.settle(
            judge(status, (class, is_failed), hint.is_some()),
            (hint, now),
        );
    }

    /// Handles a failure without a response here: an inner layer, or the work of an operation, may have seen one.
    pub(crate) fn fail(
        self,
        failed: &Diagnosis,
        (class, hint): (Option<FailureClass>, Option<Duration>),
        now: Instant,
    ) {
        match failed.status {
            Some(status) => {
                let verdict = judge(status, (class, true), hint.is_some());
                self.settle(verdict, (hint, now));
            }
            // The work of an operation has no status. It reports an overload by a hint.
            None if class == Some(FailureClass::Throttled)
                || hint.is_some() && failed.hop.is_none() && !failed.kind.is_refusal() =>
            {
                self.settle(Verdict::Overloaded, (hint, now));
            }
            // The destination gave no response: that is for the breaker to judge.
            None => {}
        }
    }

    /// Counts a success.
    pub(crate) fn accept(self, now: Instant) {
        self.permit.accept(now);
    }

    fn settle(self, verdict: Verdict, (hint, now): (Option<Duration>, Instant)) {
        match verdict {
            Verdict::Accepted => self.permit.accept(now),
            Verdict::Overloaded => {
                let retry_at = hint.map(|hint| clock::after(now, hint.min(LONGEST_HINT)));
                self.permit.overloaded(retry_at, now);
            }
            Verdict::Ignored => {}
        }
    }
}

/// One response must not name the time for all rejections of a day. After this time, the server may say it again.
const LONGEST_HINT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;
    use crate::policy::Versioned;
    use crate::policy::throttle::decide::Rules;

    #[tokio::test(start_paused = true)]
    async fn hint_of_a_day_is_cut() {
        let now = clock::now();
        let rules = Versioned {
            generation: 0,
            rules: Rules {
                multiplier: 2.0,
                window: Duration::from_secs(120),
            },
        };
        let shared = Arc::new(Shared::new(rules, now));
        let admit = |luck: fn() -> f64| Arc::clone(&shared).admit(rules, now, luck);
        let ticket = Ticket {
            permit: admit(|| f64::INFINITY).unwrap(),
            hints: Hints::default(),
        };
        let headers = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from(86_400))]);
        let head = (StatusCode::TOO_MANY_REQUESTS, &headers);
        ticket.head(head, (None, false), now);
        let rejection = admit(|| 0.0).err().unwrap();
        assert_eq!(rejection.retry_after, Some(LONGEST_HINT));
    }
}
