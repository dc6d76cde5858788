use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::box_error::BoxError;
use crate::call::Call;
use crate::diagnose::diagnose_operation;
use crate::error::Error;
use crate::hop::{Class, Diagnosis, Effect};
use crate::limit::Waited;
use crate::record::tracker::Tracker;

/// What the work of an operation says when it fails: what became of it, whether a retry may fare
/// better, and when.
///
/// By `?` any error becomes the careful word: [`maybe`](Self::maybe), and it may pass.
///
/// # Example
///
/// What PostgreSQL's client says, in a function that every query shares:
///
/// ```
/// # mod tokio_postgres {
/// #     pub type Error = std::io::Error;
/// # }
/// # trait Code { fn as_db_error(&self) -> Option<()>; }
/// # impl Code for std::io::Error { fn as_db_error(&self) -> Option<()> { None } }
/// use sevenhops::sdk::operation::Failed;
///
/// fn said(error: tokio_postgres::Error) -> Failed {
///     match error.as_db_error() {
///         // It read the statement and declined it.
///         Some(_) => Failed::declined(error).lasting(),
///         // The connection broke: nobody knows how far it had come.
///         None => Failed::maybe(error),
///     }
/// }
/// ```
///
/// # How people get it wrong
///
/// Everything by `?`: a statement that can never work is then repeated, and counts against its
/// destination as an outage does. Say [`lasting`](Self::lasting) of what the far side declined.
pub struct Failed {
    said: Said,
    class: Option<Class>,
    retry_after: Option<Duration>,
    source: BoxError,
}

#[derive(Clone, Copy, Debug)]
enum Said {
    By(Effect),
    /// What our own error in the chain says.
    Heard,
}

impl Failed {
    /// It provably did not happen: nothing was sent.
    pub fn unsent(error: impl Into<BoxError>) -> Self {
        Self::new(Said::By(Effect::None), error)
    }

    /// The responding party says that it did not do it: its word, no proof. It may pass, unless
    /// [`lasting`](Self::lasting) says otherwise, and is then sent again as a throttled request is.
    pub fn declined(error: impl Into<BoxError>) -> Self {
        Self::new(Said::By(Effect::Declined), error)
    }

    /// Nobody knows whether it happened.
    pub fn maybe(error: impl Into<BoxError>) -> Self {
        Self::new(Said::By(Effect::Possible), error)
    }

    /// It happened; only what came of it is lost.
    pub fn done(error: impl Into<BoxError>) -> Self {
        Self::new(Said::By(Effect::Done), error)
    }

    /// What the error of a client of ours in the chain says of the effect; a maybe where there is
    /// none, or where the attempt has not heard of that call (it was made in a task of its own). What other
    /// calls of ours in the same attempt may have done counts too. For work that does nothing else, one request
    /// after another: of that, they know nothing.
    pub fn heard(error: impl Into<BoxError>) -> Self {
        Self::new(Said::Heard, error)
    }

    /// It would fail again: a repeat is in vain, and the destination did its part.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.class = Some(Class::Lasting);
        self
    }

    /// Not before so long: the far side says when to come back.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    fn new(said: Said, error: impl Into<BoxError>) -> Self {
        Self {
            said,
            class: None,
            retry_after: None,
            source: error.into(),
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::maybe(error)
    }
}

impl fmt::Debug for Failed {
    /// The cause by its `Display`: its own `Debug` may hold what a peer sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed")
            .field("said", &self.said)
            .field("class", &self.class)
            .field("retry_after", &self.retry_after)
            .field("source", &self.source.to_string())
            .finish()
    }
}

/// How an attempt of an operation failed, whoever says so.
pub(super) struct Told {
    pub(super) diagnosis: Diagnosis,
    /// The caller's word, or what follows where no table has one; else the table's counts.
    pub(super) class: Option<Class>,
    pub(super) retry_after: Option<Duration>,
    pub(super) source: Option<BoxError>,
}

impl Told {
    pub(super) fn failed(failed: Failed, operation: &Call, attempt: &Arc<Tracker>) -> Self {
        let ours = Error::first_in(&*failed.source);
        let effect = match (failed.said, ours) {
            (Said::By(effect), _) => effect,
            (Said::Heard, None) => Effect::Possible,
            (Said::Heard, Some(ours)) => {
                let call = ours.timeline().map(|of| &of.0);
                // Where this one was not heard of, others may have gone the same way.
                let others = match operation.has_heard_of(attempt, call) {
                    true => operation.effect_of_calls(attempt),
                    false => Effect::Possible,
                };
                ours.effect().max(others)
            }
        };
        let mut diagnosis = diagnose_operation(attempt, &*failed.source, effect);
        let mut class = Some(Class::Passing);
        let mut hint = None;
        if let Some(ours) = ours {
            let inner = ours.diagnosis();
            let by_table = inner.hop.is_some() || ours.rejected_by().is_some();
            diagnosis = Diagnosis { effect, ..inner };
            class = class.filter(|_| !by_table);
            hint = ours.retry_after();
        }
        Self {
            diagnosis,
            class: failed.class.or(class),
            retry_after: failed.retry_after.or(hint),
            source: Some(failed.source),
        }
    }

    /// The time was over. Nobody knows what the work had done by then.
    pub(super) fn expired(which: Waited, attempt: &Tracker) -> Self {
        Self {
            diagnosis: Diagnosis::operation_expired(attempt, which),
            class: Some(Class::Passing),
            retry_after: None,
            source: None,
        }
    }
}
