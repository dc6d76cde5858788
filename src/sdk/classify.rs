use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Hop, Kind};
use crate::timeline::Timeline;

/// Reads from an SDK's error where the call failed, and whether it had an effect.
///
/// # Example
///
/// ```
/// use sevenhops::{Effect, sdk};
///
/// /// Returns the next step for a job whose SDK call failed.
/// fn next(error: &(dyn std::error::Error + 'static)) -> &'static str {
///     match sdk::classify_error(error).effect() {
///         Effect::None => "put it back into the queue",
///         Effect::Declined => "correct the request",
///         Effect::Possible => "look it up first",
///         Effect::Done => "it is done: read the result",
///     }
/// }
/// let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
/// assert_eq!(next(&lost), "look it up first");
/// ```
///
/// # Reports
///
/// If the error chain contains an error of this crate, the classification has its hop, kind and effect, and its
/// timeline if it has one. Otherwise the values are read from the chain. Errors of reqwest, hyper, hyper-util, h2 and
/// rustls and I/O errors are understood. (reqwest's with the feature `reqwest`, hyper-util's with `hyper-util` or
/// `reqwest`.)
///
/// # Trade-offs
///
/// An error alone proves little. If the chain contains no error of this crate, the hop is known only if the chain names
/// it. The effect is then `Possible`, unless the request could not even be encoded. The foreign client may have
/// followed a redirect or retried the request before it failed.
///
/// # How people get it wrong
///
/// "Declined" is not a proof. A gateway may have sent the request twice: the first copy was processed, and the
/// response declines the second. Only [`had_no_effect`](Classification::had_no_effect) permits a blind resend.
///
/// An SDK that retries by itself returns only its last failure. If that failure had no effect, the attempts before it
/// may still have had one. Switch the SDK's own retries off if a request must not be made twice.
///
/// If the SDK's error keeps no cause, nothing can be found in it. [`observe`](super::observe) finds the calls themselves. A transparent error (`#[error(transparent)]` of
/// `thiserror`) leaves out the error that it wraps. Pass the inner error instead.
#[must_use]
pub fn classify_error<'e>(error: &'e (dyn StdError + 'static)) -> Classification<'e> {
    let ours = Error::first_in(error);
    Classification {
        diagnosis: ours.map_or_else(|| Diagnosis::foreign(error), Error::diagnosis),
        error: ours,
        timeline: None,
    }
}

/// The result of [`classify_error`], or of [`ObservedCalls::classify_error`](super::ObservedCalls::classify_error).
#[derive(Clone, Copy, Debug)]
pub struct Classification<'e> {
    pub(super) diagnosis: Diagnosis,
    pub(super) error: Option<&'e Error>,
    /// The last observed call, if the chain contains none of our errors.
    pub(super) timeline: Option<&'e Timeline>,
}

impl<'e> Classification<'e> {
    /// Returns the hop at which the call failed. `None` if a policy rejected the call, or if the hop is not known.
    #[must_use]
    pub fn hop(&self) -> Option<Hop> {
        self.diagnosis.hop
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.diagnosis.kind
    }

    /// Returns whether the call may have happened: proved not, declined by the responding party, possible, or done.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.diagnosis.effect
    }

    /// Returns whether it is proved that the call did not happen: true only for [`Effect::None`].
    #[must_use]
    pub fn had_no_effect(&self) -> bool {
        self.effect().is_none()
    }

    /// Returns the status, if there was a response and the error shows it.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.diagnosis.status
    }

    /// Returns the timeline with every attempt, if a client of this crate made the call.
    #[must_use]
    pub fn timeline(&self) -> Option<&'e Timeline> {
        self.error.map_or(self.timeline, Error::timeline)
    }

    /// Returns the error of this crate, if the chain contains one.
    #[must_use]
    pub fn error(&self) -> Option<&'e Error> {
        self.error
    }
}

impl fmt::Display for Classification<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnosis { kind, effect, .. } = self.diagnosis;
        match (self.error, self.diagnosis.hop) {
            (Some(error), _) => error.fmt(f),
            (None, Some(hop)) => write!(f, "failed at {hop}: {kind}, effect {effect}"),
            (None, None) => write!(f, "failed: {kind}, effect {effect}"),
        }
    }
}
