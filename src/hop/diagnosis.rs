//! The one answer: hop, kind, effect.

use std::borrow::Cow;

use http::StatusCode;

use super::{Effect, Hop, Keyed, Kind, judge, name};
use crate::limit::Waited;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// None: a guard refused it, or nothing says where it was.
    pub(crate) hop: Option<Hop>,
    pub(crate) kind: Kind,
    pub(crate) effect: Effect,
    pub(crate) expired: Option<Waited>,
    pub(crate) status: Option<StatusCode>,
}

impl Diagnosis {
    pub(crate) const fn new(hop: Hop, kind: Kind, effect: Effect) -> Self {
        Self {
            hop: Some(hop),
            kind,
            effect,
            expired: None,
            status: None,
        }
    }

    /// It failed before anything was sent.
    pub(crate) const fn unsent(hop: Hop, kind: Kind) -> Self {
        Self::new(hop, kind, Effect::None)
    }

    /// An operation failed in which nobody saw a hop.
    pub(crate) const fn operation(effect: Effect, expired: Option<Waited>) -> Self {
        let kind = match expired {
            Some(_) => Kind::Timeout,
            None => Kind::Other,
        };
        Self {
            hop: None,
            expired,
            ..Self::new(Hop::Server, kind, effect)
        }
    }

    /// A guard's no, before anything was sent.
    pub(crate) const fn refusal(kind: Kind) -> Self {
        Self {
            hop: None,
            ..Self::unsent(Hop::Encode, kind)
        }
    }

    /// What a status says of a call; `None` if it is no failure.
    pub(crate) fn status(
        status: StatusCode,
        headers: &http::HeaderMap,
        keyed: Keyed,
    ) -> Option<Self> {
        judge(status, headers, keyed).map(|(hop, kind, effect)| Self {
            status: Some(status),
            ..Self::new(hop, kind, effect)
        })
    }

    /// The value of `error.type`: the status code of a failure by status, else the table's word.
    pub(crate) fn error_type(&self) -> Cow<'static, str> {
        match (self.status, self.hop) {
            (Some(status), _) => Cow::Owned(status.as_u16().to_string()),
            (None, Some(hop)) => Cow::Borrowed(name(hop, self.kind).error_type),
            (None, None) if self.kind == Kind::Timeout => Cow::Borrowed("timeout"),
            (None, None) if self.kind.is_refusal() => Cow::Borrowed("refused"),
            (None, None) => Cow::Borrowed("_OTHER"),
        }
    }
}
