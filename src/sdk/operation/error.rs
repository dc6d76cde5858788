use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::box_error::BoxError;
use crate::call::Call;
use crate::diagnose::diagnose_operation;
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Retryability};
use crate::record::tracker::Tracker;
use crate::timeout::TimeoutKind;

/// A failure of an operation's work: its effect, whether a retry may help, and when.
///
/// The `?` operator turns any error into the cautious case: [`unknown`](Self::unknown), and transient.
///
/// # Example
///
/// An error of PostgreSQL's client, converted in a function that every query shares:
///
/// ```
/// # mod tokio_postgres {
/// #     pub type Error = std::io::Error;
/// # }
/// # trait Code { fn as_db_error(&self) -> Option<()>; }
/// # impl Code for std::io::Error { fn as_db_error(&self) -> Option<()> { None } }
/// use sevenhops::OperationError;
///
/// fn convert(error: tokio_postgres::Error) -> OperationError {
///     match error.as_db_error() {
///         // The server read the statement and declined it.
///         Some(_) => OperationError::declined(error).permanent(),
///         // The connection broke: the effect is not known.
///         None => OperationError::unknown(error),
///     }
/// }
/// ```
///
/// # How people get it wrong
///
/// Every error goes through `?`. Then a statement that can never succeed is retried, and counts against its
/// destination like an outage. Use [`permanent`](Self::permanent) for statements that the server declined.
pub struct OperationError {
    claim: EffectClaim,
    class: Option<Retryability>,
    retry_after: Option<Duration>,
    source: BoxError,
}

#[derive(Clone, Copy, Debug)]
enum EffectClaim {
    By(Effect),
    /// Takes the effect from this crate's error in the chain.
    FromError,
}

impl OperationError {
    /// Creates a failure that provably had no effect: nothing was sent.
    pub fn not_sent(error: impl Into<BoxError>) -> Self {
        Self::new(EffectClaim::By(Effect::None), error)
    }

    /// Creates a failure that the responding party declined: this is a claim, not a proof. The failure is transient
    /// unless [`permanent`](Self::permanent) is called. A transient one is retried like a throttled request.
    pub fn declined(error: impl Into<BoxError>) -> Self {
        Self::new(EffectClaim::By(Effect::Declined), error)
    }

    /// Creates a failure whose effect is not known.
    pub fn unknown(error: impl Into<BoxError>) -> Self {
        Self::new(EffectClaim::By(Effect::Possible), error)
    }

    /// Creates a failure of work that happened; only its result is lost.
    pub fn completed(error: impl Into<BoxError>) -> Self {
        Self::new(EffectClaim::By(Effect::Done), error)
    }

    /// Creates a failure with the effect that an error of this crate in the chain shows.
    ///
    /// If the error shows nothing and the last call in the attempt failed, the effect is that of the calls in the
    /// attempt. It is not "none" then: that needs an error of this crate in the chain. Otherwise the effect is unknown
    /// if the chain holds no such error. It is also unknown if the attempt does not know the failed call, because the
    /// call was made in another task. The effects of other calls of this crate in the same attempt are included. Use
    /// this only if the work does nothing besides these requests, one after another: the error does not cover other
    /// work.
    pub fn from_error(error: impl Into<BoxError>) -> Self {
        Self::new(EffectClaim::FromError, error)
    }

    /// Marks the failure as permanent: it is not retried, and does not count against the destination.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.class = Some(Retryability::Permanent);
        self
    }

    /// Marks the failure as transient, even if a call inside failed in a way that is permanent.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.class = Some(Retryability::Transient);
        self
    }

    /// Sets the wait that the server requested before the next attempt.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    fn new(claim: EffectClaim, error: impl Into<BoxError>) -> Self {
        Self {
            claim,
            class: None,
            retry_after: None,
            source: error.into(),
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for OperationError {
    fn from(error: E) -> Self {
        Self::unknown(error)
    }
}

impl fmt::Debug for OperationError {
    /// Prints the cause by its `Display`: its `Debug` may hold text that a peer sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationError")
            .field("claim", &self.claim)
            .field("class", &self.class)
            .field("retry_after", &self.retry_after)
            .field("source", &self.source.to_string())
            .finish()
    }
}

/// How an attempt of an operation failed.
pub(super) struct FailedWork {
    pub(super) diagnosis: Diagnosis,
    /// The class that the caller set, or transient if no table covers the failure. If `None`, the table's class counts.
    pub(super) class: Option<Retryability>,
    pub(super) retry_after: Option<Duration>,
    pub(super) source: Option<BoxError>,
}

impl FailedWork {
    /// Creates the failure of an attempt that a policy rejected.
    pub(super) fn rejected(refused: &Error) -> Self {
        Self {
            diagnosis: refused.diagnosis(),
            class: None,
            retry_after: refused.retry_after(),
            source: None,
        }
    }

    pub(super) fn failed(failed: OperationError, operation: &Call, attempt: &Arc<Tracker>) -> Self {
        let ours = Error::first_in(&*failed.source);
        let mut diagnosis = diagnose_operation(attempt, &*failed.source, Effect::Possible);
        // Whatever the work says about the effect, it knows the failure.
        let is_told = !matches!(
            failed.claim,
            EffectClaim::FromError | EffectClaim::By(Effect::Possible)
        );
        let is_blank = ours.is_none() && diagnosis.is_blank() && !is_told;
        let inside = is_blank.then(|| operation.last_failure_in(attempt));
        let inside = inside.flatten();
        let effect = match (failed.claim, ours) {
            (EffectClaim::By(effect), _) => effect,
            (EffectClaim::FromError, None) if inside.is_some() => {
                operation.effect_of_calls(attempt).without_proof()
            }
            (EffectClaim::FromError, None) => Effect::Possible,
            (EffectClaim::FromError, Some(ours)) => {
                let call = ours.timeline().map(|of| &of.0);
                // If the attempt does not know this call, it may have missed other calls in the same way.
                let others = match operation.has_recorded(attempt, call) {
                    true => operation.effect_of_calls(attempt),
                    false => Effect::Possible,
                };
                ours.effect().max(others)
            }
        };
        diagnosis.effect = effect;
        let mut class = Some(Retryability::Transient);
        let mut hint = None;
        if let Some(ours) = ours {
            let inner = ours.diagnosis();
            let by_table = inner.hop.is_some() || ours.rejected_by().is_some();
            diagnosis = Diagnosis { effect, ..inner };
            class = class.filter(|_| !by_table);
            hint = ours.retry_after();
        } else if let Some((inner, requested)) = inside {
            let by_table = inner.hop.is_some() || inner.kind.is_refusal();
            diagnosis = Diagnosis { effect, ..inner };
            class = class.filter(|_| !by_table);
            hint = requested;
        }
        Self {
            diagnosis,
            class: failed.class.or(class),
            retry_after: failed.retry_after.or(hint),
            source: Some(failed.source),
        }
    }

    /// Returns the failure of an attempt that ran out of time. The work's effect until then is not known.
    pub(super) fn timeout_kind(which: TimeoutKind, attempt: &Tracker) -> Self {
        Self {
            diagnosis: Diagnosis::operation_expired(attempt, which),
            class: Some(Retryability::Transient),
            retry_after: None,
            source: None,
        }
    }
}
