//! The opaque error of this crate: where a call failed, why, its effect, and the attempts made.

mod predicates;
mod reason;
mod secrets;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

pub(crate) use self::reason::ReasonText;
use self::reason::reason;
use self::secrets::clean;
use crate::box_error::BoxError;
use crate::call::Call;
use crate::callback::Panicked;
use crate::chain::chain;
use crate::clock;
use crate::hop::{
    Blame, Diagnosis, Effect, Hop, Kind, NoRetryReason, Policy, is_shown, name, short,
};
use crate::options::Unmet;
use crate::retry_after::hint;
use crate::timeline::Timeline;
use crate::timeout::TimeoutKind;

/// The failure of a call: why it failed, and whether it may have had an effect.
///
/// `Display` is one sentence that names method, URL, hop, kind and effect. `source()` keeps the cause. Neither holds a
/// secret: no header value, no query, no userinfo, no body.
///
/// [`errors`](crate::errors) has an entry for each pair of hop and kind: the reason, and the action to take.
///
/// # Example
///
/// ```
/// use sevenhops::{Effect, Error};
///
/// /// The answer to "was I charged?".
/// fn advice(error: &Error) -> &'static str {
///     match error.effect() {
///         Effect::None => "not charged: try again",
///         Effect::Declined => "not charged, says the service: correct the request",
///         Effect::Possible => "perhaps charged: look it up before trying again",
///         Effect::Done => "charged: only the response was lost",
///     }
/// }
/// ```
pub struct Error(Box<ErrorInner>);

struct ErrorInner {
    diagnosis: Diagnosis,
    rejected_by: Option<Policy>,
    retry_after: Option<Duration>,
    call: Option<Timeline>,
    source: Option<BoxError>,
    /// Never printed, because it may hold secrets.
    body: Option<Bytes>,
}

impl Error {
    pub(crate) fn new(diagnosis: Diagnosis) -> Self {
        Self(Box::new(ErrorInner {
            diagnosis,
            rejected_by: None,
            retry_after: None,
            call: None,
            source: None,
            body: None,
        }))
    }

    /// Returns the error of a request that cannot be encoded.
    pub(crate) fn invalid() -> Self {
        Self::new(Diagnosis::invalid())
    }

    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(clean(source.into()));
        self
    }

    /// Adds a cause that this crate made and that holds no secret.
    pub(crate) fn caused_by(mut self, cause: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(cause));
        self
    }

    pub(crate) fn refused(policy: Policy, diagnosis: Diagnosis) -> Self {
        let mut error = Self::new(diagnosis);
        error.0.rejected_by = Some(policy);
        error
    }

    /// Sets the time after which to retry.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Keeps the beginning of the response's body.
    #[cfg(feature = "client")]
    pub(crate) fn with_body(mut self, body: Bytes) -> Self {
        self.0.body = Some(body);
        self
    }

    /// Adds the call. The innermost call that adds itself counts.
    pub(crate) fn of(mut self, call: &Call) -> Self {
        self.0.call.get_or_insert_with(|| call.timeline());
        self
    }

    /// Returns a failing status as an error.
    pub(crate) fn by_status(diagnosis: Diagnosis, headers: &HeaderMap) -> Self {
        let mut error = Self::new(diagnosis);
        error.0.retry_after = hint(headers, clock::wall);
        error
    }

    /// Downcasts an inner service's error to an error of this crate. Another error is returned for the caller to
    /// diagnose.
    pub(crate) fn ours(error: BoxError) -> Result<Self, BoxError> {
        error.downcast::<Self>().map(|error| *error)
    }

    pub(crate) fn diagnosis(&self) -> Diagnosis {
        self.0.diagnosis
    }

    /// Returns the same failure with another effect.
    pub(crate) fn with_effect(mut self, effect: Effect) -> Self {
        self.0.diagnosis.effect = effect;
        self
    }

    /// Returns the same failure with an effect of at least `Possible`.
    #[cfg(feature = "client")]
    pub(crate) fn unproved(self) -> Self {
        let effect = self.effect().unproved();
        self.with_effect(effect)
    }

    /// Returns the hop at which the call failed.
    ///
    /// It is `None` if a policy rejected the call or its next attempt. It is also `None` if no client observed a hop in
    /// an operation, or if the inner service was not ready.
    #[must_use]
    pub fn hop(&self) -> Option<Hop> {
        self.0.diagnosis.hop
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.diagnosis.kind
    }

    /// Returns whether the call may have had an effect: the greatest effect of all its attempts and redirects.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.0.diagnosis.effect
    }

    /// Returns whether it is proved that the request had no effect. Then it is safe to send it again without asking the
    /// server.
    ///
    /// True for [`Effect::None`] alone. [`Effect::Declined`] is a claim of the responding party: a proxy may have
    /// forwarded the request before it declined a copy of it.
    #[must_use]
    pub fn had_no_effect(&self) -> bool {
        self.effect().is_none()
    }

    /// Returns the timeout of this crate that expired, if one did.
    #[must_use]
    pub fn timeout_kind(&self) -> Option<TimeoutKind> {
        self.0.diagnosis.timeout_kind
    }

    /// Returns the policy that rejected the call, if one did.
    #[must_use]
    pub fn rejected_by(&self) -> Option<Policy> {
        self.0.rejected_by
    }

    /// Returns the status, if the status is the failure. `None` after a 2xx whose body failed: see the timeline.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.diagnosis.status
    }

    /// Returns the beginning of the body of a response whose status is the failure: at most 8 KiB, decoded.
    ///
    /// Only the calls that receive a whole body keep it (`fetch_json`, `fetch_bytes`). They wait for it for at
    /// most 1 s. `None` if there was no body, or if its coding is unknown.
    ///
    /// The body may hold secrets. Nothing else of this crate shows it: neither `Display` nor `Debug`, nor a
    /// span, a timeline or an archive.
    ///
    /// # Example
    ///
    /// ```
    /// # #[cfg(feature = "client")]
    /// #[derive(serde::Deserialize)]
    /// struct Declined { code: String }
    ///
    /// /// The reason in the body of a 402.
    /// # #[cfg(feature = "client")]
    /// fn code(error: &sevenhops::Error) -> Option<String> {
    ///     let declined: Declined = serde_json::from_slice(error.body()?).ok()?;
    ///     Some(declined.code)
    /// }
    /// ```
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.0.body.as_ref()
    }

    /// Returns the time after which to retry. It comes from the server (`Retry-After`, RFC 9110 §10.2.3, or
    /// `RateLimit`), the breaker, the rate limit or the throttle. After a failed lookup, it is the time for which the
    /// failure stays in the cache (RFC 9520).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        // A caller's hint function may have read a hint that the headers do not hold.
        self.0
            .retry_after
            .or_else(|| match self.no_retry_reason()? {
                NoRetryReason::HintTooLong { hint, .. } => Some(hint),
                _ => None,
            })
    }

    /// Returns the number of attempts, including those that were not sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.call.as_ref().map_or(0, Timeline::attempt_count)
    }

    /// Returns the record of the call, attempt by attempt. `None` for a call that never began.
    #[must_use]
    pub fn timeline(&self) -> Option<&Timeline> {
        self.0.call.as_ref()
    }

    /// Returns why the last failure was not retried. `None` if no layer retries, or if a policy rejected the call.
    #[must_use]
    pub fn no_retry_reason(&self) -> Option<NoRetryReason> {
        self.0.call.as_ref().and_then(Timeline::no_retry_reason)
    }

    /// Returns the party that can fix the failure.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self.hop() {
            _ if self.kind().is_local() => Blame::Client,
            Some(hop) => name(hop, self.kind()).blame,
            None if self.kind() == Kind::CircuitOpen => Blame::Server,
            None if self.rejected_by().is_some() => Blame::Client,
            None => Blame::Server,
        }
    }

    /// Returns the operating system's text for a missing local resource or a unix socket. No peer can influence it.
    fn local_reason(&self) -> Option<String> {
        let mut causes = chain(self.source()?);
        let reason = causes.find(|cause| is_shown(*cause, self.kind()))?;
        Some(reason.to_string())
    }

    /// Returns the value of `error.type` in spans and metrics.
    #[must_use]
    pub fn error_type(&self) -> Cow<'static, str> {
        self.0.diagnosis.error_type()
    }
}

impl From<Unmet> for Error {
    /// Turns an option that no layer carries out into an error. The request was not sent.
    fn from(unmet: Unmet) -> Self {
        Self::invalid().caused_by(unmet)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorInner {
            diagnosis,
            rejected_by,
            call,
            source,
            ..
        } = &*self.0;
        match call {
            Some(call) => write!(f, "{}", call.asked())?,
            None => f.write_str("call")?,
        }
        match (rejected_by, diagnosis.hop) {
            (Some(policy), _) => write!(f, " rejected by the {policy}")?,
            (None, Some(hop)) => match hop.number() {
                Some(number) => write!(f, " failed at {hop} (hop {number} of 7)")?,
                None => write!(f, " failed at {hop}")?,
            },
            (None, None) => f.write_str(" failed")?,
        }
        write!(f, ": {}", diagnosis.kind)?;
        if let Some(panicked) = source.as_ref().and_then(|s| s.downcast_ref::<Panicked>()) {
            write!(f, ", {panicked}")?;
        }
        if let Some(unmet) = source.as_ref().and_then(|s| s.downcast_ref::<Unmet>()) {
            write!(f, " ({unmet})")?;
        }
        #[cfg(feature = "client")]
        if let Some(unmade) = source
            .as_ref()
            .and_then(|s| s.downcast_ref::<crate::hop::Unmade>())
        {
            write!(f, " ({unmade})")?;
        }
        if let Some(reason) = self.local_reason() {
            write!(f, ", {reason}")?;
        }
        if let Some(timeout_kind) = diagnosis.timeout_kind {
            write!(f, ", {timeout_kind}")?;
        }
        if let Some(status) = diagnosis.status {
            write!(f, ", status {}", status.as_u16())?;
        }
        // The breaker's cause has counts, hops and kinds only.
        if let (Some(Policy::Breaker), Some(cause)) = (rejected_by, source) {
            write!(f, ": {cause}")?;
        }
        let causes = self.source().into_iter().flat_map(chain);
        if let Some(reason) = reason(causes, diagnosis.kind) {
            write!(f, ": {reason}")?;
        }
        match call.as_ref().map(Timeline::attempt_count) {
            None => f.write_str("; ")?,
            Some(1) => f.write_str("; 1 attempt, ")?,
            Some(attempts) => write!(f, "; {attempts} attempts, ")?,
        }
        match diagnosis.effect.is_none() {
            true => f.write_str("no effect")?,
            false => write!(f, "effect {}", diagnosis.effect)?,
        }
        if let Some(advice) = diagnosis.advice() {
            write!(f, " ({advice})")?;
        }
        if let Some(reason) = self.no_retry_reason() {
            write!(f, "; not retried: {reason}")?;
        }
        match self.retry_after() {
            Some(wait) => write!(f, "; retry after {}", short(wait)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    /// Prints the sentence and the chain of causes, each by its `Display`. The `Debug` of a cause may hold text that a
    /// peer sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self}")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        f.write_str(")")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests;
