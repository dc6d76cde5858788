use http::StatusCode;

use super::{Diagnosis, Effect, Hop, Kind};
use crate::limit::Waited;

/// How an attempt or a call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It has not.
    #[default]
    Pending,
    /// With an answer that is no failure.
    Answered(StatusCode),
    /// The operation was done.
    Done,
    /// It failed.
    Failed {
        /// Where; none if a policy refused it, or if no hop was seen.
        hop: Option<Hop>,
        /// How.
        kind: Kind,
        /// Whether it may have happened.
        effect: Effect,
        /// Which limit ran out, if one did.
        expired: Option<Waited>,
        /// The status, if there was an answer.
        status: Option<StatusCode>,
    },
    /// The caller went away.
    Cancelled,
}

impl Outcome {
    /// How it ended, in a word; also the value of `sevenhops.outcome`.
    #[cfg(any(feature = "otel", feature = "serde"))]
    pub(crate) const fn end(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Answered(_) => "answered",
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The value of `error.type`, where it failed.
    #[cfg(any(feature = "har", feature = "otel", feature = "serde"))]
    pub(crate) fn error_type(&self) -> Option<std::borrow::Cow<'static, str>> {
        let Self::Failed {
            hop,
            kind,
            effect,
            expired,
            status,
        } = *self
        else {
            return None;
        };
        let diagnosis = Diagnosis {
            hop,
            kind,
            effect,
            expired,
            status,
        };
        Some(diagnosis.error_type())
    }
}

impl From<Diagnosis> for Outcome {
    fn from(diagnosis: Diagnosis) -> Self {
        Self::Failed {
            hop: diagnosis.hop,
            kind: diagnosis.kind,
            effect: diagnosis.effect,
            expired: diagnosis.expired,
            status: diagnosis.status,
        }
    }
}
