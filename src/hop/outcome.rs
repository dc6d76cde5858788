use http::StatusCode;

use super::{Diagnosis, Effect, Hop, Kind};
use crate::timeout::TimeoutKind;

/// How an attempt or a call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It has not ended yet.
    #[default]
    Pending,
    /// A response came whose status is not a failure.
    Responded(StatusCode),
    /// The operation succeeded.
    Done,
    /// It failed.
    Failed {
        /// The hop; `None` if a policy rejected it, no client saw a hop, or the inner service was not ready.
        hop: Option<Hop>,
        /// The kind of the failure.
        kind: Kind,
        /// Whether it may have had an effect.
        effect: Effect,
        /// The timeout that expired, if one did.
        timeout_kind: Option<TimeoutKind>,
        /// The status, if it is the failure.
        status: Option<StatusCode>,
    },
    /// The caller dropped the call.
    Cancelled,
}

impl Outcome {
    /// Returns the outcome as one word; also the value of `sevenhops.outcome`.
    #[cfg(any(feature = "otel", feature = "serde"))]
    pub(crate) const fn end(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Responded(_) => "responded",
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the value of `error.type`; `None` if it did not fail.
    pub(crate) fn error_type(&self) -> Option<std::borrow::Cow<'static, str>> {
        let Self::Failed {
            hop,
            kind,
            effect,
            timeout_kind,
            status,
        } = *self
        else {
            return None;
        };
        let diagnosis = Diagnosis {
            hop,
            kind,
            effect,
            timeout_kind,
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
            timeout_kind: diagnosis.timeout_kind,
            status: diagnosis.status,
        }
    }
}
