//! One opaque error that answers: where, what, did it happen, how hard we tried.

mod secrets;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use self::secrets::clean;
use crate::box_error::BoxError;
use crate::call::Call;
use crate::callback::Panicked;
use crate::chain::chain;
use crate::clock;
use crate::hint::hint;
use crate::hop::{Blame, Diagnosis, Effect, Hop, Kind, NotRepeated, Policy, local, name, short};
use crate::limit::Waited;
use crate::options::Unmet;
use crate::timeline::Timeline;

/// Why a call failed, and whether it may have happened all the same.
///
/// `Display` is one sentence that names method, URL, hop, kind and effect; `source()` keeps the
/// cause. Neither holds a secret: no header value, no query, no userinfo, no body.
///
/// [`errors`](crate::errors) has an entry for each pair of hop and kind: what happened, and what to do.
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
///         Effect::Done => "charged: only the answer was lost",
///     }
/// }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    diagnosis: Diagnosis,
    rejected_by: Option<Policy>,
    retry_after: Option<Duration>,
    call: Option<Timeline>,
    source: Option<BoxError>,
    /// Never shown: it may hold anything.
    body: Option<Bytes>,
}

impl Error {
    pub(crate) fn new(diagnosis: Diagnosis) -> Self {
        Self(Box::new(Inner {
            diagnosis,
            rejected_by: None,
            retry_after: None,
            call: None,
            source: None,
            body: None,
        }))
    }

    /// The request cannot be written down.
    pub(crate) fn invalid() -> Self {
        Self::new(Diagnosis::invalid())
    }

    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(clean(source.into()));
        self
    }

    /// A cause of our own making, which holds no secret.
    pub(crate) fn caused_by(mut self, cause: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(cause));
        self
    }

    pub(crate) fn refused(policy: Policy, diagnosis: Diagnosis) -> Self {
        let mut error = Self::new(diagnosis);
        error.0.rejected_by = Some(policy);
        error
    }

    /// When to come back.
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

    /// Tells which call it was; the innermost call that says so counts.
    pub(crate) fn of(mut self, call: &Call) -> Self {
        self.0.call.get_or_insert_with(|| call.timeline());
        self
    }

    /// The failure that a status is, for a caller who wants it as an error.
    pub(crate) fn by_status(diagnosis: Diagnosis, headers: &HeaderMap) -> Self {
        let mut error = Self::new(diagnosis);
        error.0.retry_after = hint(headers, clock::wall);
        error
    }

    /// Takes an inner service's error: ours as it is, another one for the caller to diagnose.
    pub(crate) fn ours(error: BoxError) -> Result<Self, BoxError> {
        error.downcast::<Self>().map(|error| *error)
    }

    pub(crate) fn diagnosis(&self) -> Diagnosis {
        self.0.diagnosis
    }

    /// The same failure, of which more is known.
    pub(crate) fn with_effect(mut self, effect: Effect) -> Self {
        self.0.diagnosis.effect = effect;
        self
    }

    /// The hop at which it failed. `None` if a policy refused the call before any hop, or if it was an
    /// operation in which nobody saw a hop.
    #[must_use]
    pub fn hop(&self) -> Option<Hop> {
        self.0.diagnosis.hop
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.diagnosis.kind
    }

    /// Whether it may have happened.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.0.diagnosis.effect
    }

    /// Whether it is proved that it did not happen: safe to send again without asking.
    ///
    /// True for [`Effect::None`] alone. [`Effect::Declined`] is the word of the responding party: a proxy
    /// may have forwarded the request before it declined a copy of it.
    #[must_use]
    pub fn had_no_effect(&self) -> bool {
        self.effect().is_none()
    }

    /// Which limit of ours ran out, if one did.
    #[must_use]
    pub fn expired(&self) -> Option<Waited> {
        self.0.diagnosis.expired
    }

    /// Which policy refused the call, if one did.
    #[must_use]
    pub fn rejected_by(&self) -> Option<Policy> {
        self.0.rejected_by
    }

    /// The status, if there was an answer.
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

    /// When to come back: what the far side asks for by `Retry-After` (RFC 9110 §10.2.3) or
    /// `RateLimit`, how long the breaker stays open, or how long a failed look-up is remembered (RFC
    /// 9520).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        // A caller's function may have read what the headers do not say.
        self.0.retry_after.or_else(|| match self.not_repeated()? {
            NotRepeated::HintTooLong { hint, .. } => Some(hint),
            _ => None,
        })
    }

    /// How many attempts were made.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.call.as_ref().map_or(0, Timeline::attempt_count)
    }

    /// What happened, attempt by attempt. `None` for a call that never began.
    #[must_use]
    pub fn timeline(&self) -> Option<&Timeline> {
        self.0.call.as_ref()
    }

    /// Why it was not repeated, or not once more. `None` where nothing repeats, or a policy refused it.
    #[must_use]
    pub fn not_repeated(&self) -> Option<NotRepeated> {
        self.0.call.as_ref().and_then(Timeline::not_repeated)
    }

    /// Whose failure it is: who can mend it.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self.hop() {
            _ if self.kind().is_local() => Blame::Client,
            Some(hop) => name(hop, self.kind()).blame,
            None if self.kind() == Kind::Open => Blame::Server,
            None if self.rejected_by().is_some() => Blame::Client,
            None => Blame::Server,
        }
    }

    /// What this process lacks, in words that no peer sent.
    fn local_reason(&self) -> Option<String> {
        let source = self.source().filter(|_| self.kind().is_local())?;
        let reason = chain(source).find(|cause| local(*cause).is_some())?;
        Some(reason.to_string())
    }

    /// The value of `error.type` in spans and metrics.
    #[must_use]
    pub fn error_type(&self) -> Cow<'static, str> {
        self.0.diagnosis.error_type()
    }

    /// Whether a limit ran out, ours or the gateway's.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind() == Kind::Timeout
    }

    /// Whether it failed before a connection stood, at dns, connect or tls, and provably had no effect.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.had_no_effect() && matches!(self.hop(), Some(Hop::Dns | Hop::Connect | Hop::Tls))
    }

    /// Whether an answer came, and its status is the failure.
    #[must_use]
    pub fn is_status(&self) -> bool {
        self.status().is_some()
    }

    /// Whether the answer came and could not be understood.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        self.hop() == Some(Hop::Decode)
    }
}

impl From<Unmet> for Error {
    /// A demand that no layer carries out: nothing was sent.
    fn from(unmet: Unmet) -> Self {
        Self::invalid().caused_by(unmet)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
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
            (Some(policy), _) => write!(f, " refused by the {policy}")?,
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
        if let Some(expired) = diagnosis.expired {
            write!(f, ", {expired}")?;
        }
        if let Some(status) = diagnosis.status {
            write!(f, ", status {}", status.as_u16())?;
        }
        let mut causes = self.source().into_iter().flat_map(chain);
        if let Some(reason) = causes.find_map(|cause| cause.downcast_ref::<Reason>()) {
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
        if let Some(reason) = self.not_repeated() {
            write!(f, "; not repeated: {reason}")?;
        }
        match self.retry_after() {
            Some(wait) => write!(f, "; come back after {}", short(wait)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    /// The sentence and the chain of causes, each by its `Display`: a cause's own `Debug` may hold
    /// what a peer sent.
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

/// The reason of a failure in words of this crate, which hold no secret. The error's sentence shows it.
#[derive(Debug)]
pub(crate) struct Reason(Cow<'static, str>);

impl Reason {
    #[cfg(feature = "client")]
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Reason {}

#[cfg(test)]
mod tests;
