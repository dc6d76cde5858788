//! The diagnosis of a failure: hop, kind, effect.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use super::{FailureClass, Hop, Keyed, Kind, judge, name};
use crate::timeout::TimeoutKind;

/// The diagnosis of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// `None` if a policy refused the call, or if nothing shows where it failed.
    pub(crate) hop: Option<Hop>,
    pub(crate) kind: Kind,
    pub(crate) effect: Effect,
    pub(crate) timeout_kind: Option<TimeoutKind>,
    pub(crate) status: Option<StatusCode>,
}

impl Diagnosis {
    pub(crate) const fn new(hop: Hop, kind: Kind, effect: Effect) -> Self {
        Self {
            hop: Some(hop),
            kind,
            effect,
            timeout_kind: None,
            status: None,
        }
    }

    /// Returns a failure before anything was sent.
    pub(crate) const fn unsent(hop: Hop, kind: Kind) -> Self {
        Self::new(hop, kind, Effect::None)
    }

    /// Returns the failure of a request that cannot be encoded.
    pub(crate) const fn invalid() -> Self {
        Self::unsent(Hop::Encode, Kind::InvalidRequest)
    }

    /// Returns a failure after the response head. The effect until then is in the call's log.
    pub(crate) const fn after_head(hop: Hop, kind: Kind) -> Self {
        Self::unsent(hop, kind)
    }

    /// Returns the failure of a complete body that cannot be decoded, after a success.
    #[cfg(feature = "client")]
    pub(crate) const fn undecoded(kind: Kind) -> Self {
        Self::new(Hop::Decode, kind, Effect::Done)
    }

    /// Returns the rejection of an expired key: no server can tell any more whether an earlier request with it
    /// succeeded.
    pub(crate) const fn key_expired() -> Self {
        Self {
            effect: Effect::Possible,
            ..Self::refusal(Kind::KeyExpired)
        }
    }

    /// Returns the failure of an operation whose time is over: the effect of its work until then is unknown.
    pub(crate) const fn out_of_time(which: TimeoutKind) -> Self {
        Self::operation(Effect::Possible, Some(which))
    }

    /// Returns the failure of an operation in which no client saw a hop.
    pub(crate) const fn operation(effect: Effect, timeout_kind: Option<TimeoutKind>) -> Self {
        let kind = match timeout_kind {
            Some(_) => Kind::Timeout,
            None => Kind::Other,
        };
        Self {
            hop: None,
            timeout_kind,
            ..Self::new(Hop::Server, kind, effect)
        }
    }

    /// Returns a rejection by a policy before anything was sent.
    pub(crate) const fn refusal(kind: Kind) -> Self {
        Self {
            hop: None,
            ..Self::unsent(Hop::Encode, kind)
        }
    }

    /// Returns the rejection of an attempt that would begin after the deadline.
    pub(crate) const fn too_late() -> Self {
        Self {
            timeout_kind: Some(TimeoutKind::Deadline),
            ..Self::refusal(Kind::Timeout)
        }
    }

    /// Returns the failure that a status stands for; `None` if it does not stand for one.
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

    /// Returns the failure that a classifier sees in a 2xx; `None` if it sees none.
    pub(crate) fn classified(
        status: StatusCode,
        class: FailureClass,
        effect: Effect,
    ) -> Option<Self> {
        let kind = match class {
            FailureClass::Transient | FailureClass::Permanent => Kind::ServerError,
            FailureClass::Throttled => Kind::Throttled,
            FailureClass::Success | FailureClass::Ignore => return None,
        };
        Some(Self {
            status: Some(status),
            ..Self::new(Hop::Server, kind, effect)
        })
    }

    /// Returns how to read the failure, if it may be the result of an earlier attempt of the same call.
    pub(crate) const fn advice(&self) -> Option<&'static str> {
        match (self.kind, self.effect) {
            (Kind::PreconditionFailed, Effect::Possible) => {
                Some("this call may have made the change itself: GET the resource and compare")
            }
            (Kind::PreconditionFailed, Effect::Done) => Some("this call made the change itself"),
            _ => None,
        }
    }

    /// Returns whether an error showed neither where nor how it failed.
    pub(crate) const fn is_blank(&self) -> bool {
        self.hop.is_none() && self.status.is_none() && matches!(self.kind, Kind::Other)
    }

    /// Returns the value of `error.type`: the status code of a failure by status, otherwise the name in the table.
    pub(crate) fn error_type(&self) -> Cow<'static, str> {
        match (self.status, self.hop) {
            // Only a classifier found this failure, and no table has a name for it.
            (Some(status), _) if status.is_success() => Cow::Borrowed("_OTHER"),
            (Some(status), _) => Cow::Owned(status.as_u16().to_string()),
            (None, Some(hop)) => Cow::Borrowed(name(hop, self.kind).error_type),
            (None, None) if self.kind == Kind::Timeout => Cow::Borrowed("timeout"),
            (None, None) if self.kind.is_refusal() => Cow::Borrowed("rejected"),
            (None, None) => Cow::Borrowed("_OTHER"),
        }
    }
}

/// Whether the request took effect: was the customer charged? The effect of a call is the greatest of
/// its attempts'.
///
/// A proof and a claim of the responding party are different. Only after [`None`](Self::None) is it safe to send again
/// without asking ([`Error::had_no_effect`](crate::Error::had_no_effect)).
#[expect(
    clippy::exhaustive_enums,
    reason = "a `match` on it is a complete list of what a caller has to handle"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// The protocol proves that the request had no effect: no connection took it, or the HTTP/2 peer returned it
    /// unprocessed.
    None,
    /// The responding party declares that it did not act. It is a claim, not a proof. Most 4xx, and 307, 308.
    Declined,
    /// Unknown: the request was sent, and no response settles it.
    Possible,
    /// A 2xx response came back for the call's own method.
    Done,
}

impl Effect {
    /// Returns its name in spans and timelines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Declined => "declined",
            Self::Possible => "possible",
            Self::Done => "done",
        }
    }

    /// Returns the effect of a request that was not sent yet.
    pub(crate) const fn unsent() -> Self {
        Self::None
    }

    /// Returns whether it is proved that the request had no effect.
    pub(crate) const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) const fn is_declined(self) -> bool {
        matches!(self, Self::Declined)
    }

    #[cfg(feature = "otel")]
    pub(crate) const fn is_possible(self) -> bool {
        matches!(self, Self::Possible)
    }

    /// Returns at least `Possible`, for a request whose smaller effect is not proved.
    pub(crate) fn unproved(self) -> Self {
        self.max(Self::Possible)
    }

    /// Returns the effect if there is no proof: [`None`](Self::None) becomes `Possible`.
    pub(crate) fn without_proof(self) -> Self {
        match self {
            Self::None => Self::Possible,
            other => other,
        }
    }

    /// Returns the effect on the whole call if this is the effect of a part. A part does not complete the call.
    pub(crate) fn of_part(self) -> Self {
        self.min(Self::Possible)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
