use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Hop, Kind};
use crate::timeline::Timeline;

/// Finds out what an SDK's error says of the call that failed.
///
/// # Example
///
/// ```
/// use sevenhops::{Effect, sdk};
///
/// /// What becomes of a job whose SDK call failed.
/// fn next(error: &(dyn std::error::Error + 'static)) -> &'static str {
///     match sdk::find(error).effect() {
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
/// # What it reports
///
/// If an error of ours is anywhere in the chain, what that one says: hop, kind, effect, and the timeline if
/// there is one. If there is none, what the chain tells of itself: reqwest's, hyper's, hyper-util's, h2's,
/// rustls' and I/O errors are understood. (reqwest's with the feature `reqwest`, hyper-util's with `hyper` or
/// `reqwest`.)
///
/// # Trade-offs
///
/// An error alone proves little. Where no error of ours is in the chain, the hop is told only if the chain
/// names it, and the effect is possible unless the request could not even be written down: whose client it
/// was may have followed a redirect or repeated the request before it failed.
///
/// # How people get it wrong
///
/// "Declined" is not a proof. A gateway may have sent the request twice: the first copy was processed, and the
/// response declines the second. Only [`had_no_effect`](Finding::had_no_effect) allows to send again blindly.
///
/// An SDK that repeats requests by itself returns the last failure only. That this one had no effect says
/// nothing of those before: switch its own retries off where a request must not be made twice.
///
/// And an SDK whose errors keep no cause leaves nothing to be found. One whose error is transparent, as
/// `thiserror` calls it, leaves out what it wraps: hand that over instead.
#[must_use]
pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Finding<'e> {
    let ours = Error::first_in(error);
    Finding {
        diagnosis: ours.map_or_else(|| Diagnosis::foreign(error), Error::diagnosis),
        error: ours,
    }
}

/// What was found out by [`find`].
#[derive(Clone, Copy, Debug)]
pub struct Finding<'e> {
    diagnosis: Diagnosis,
    error: Option<&'e Error>,
}

impl<'e> Finding<'e> {
    /// The hop at which it failed. `None` if a policy refused the call, or nothing tells.
    #[must_use]
    pub fn hop(&self) -> Option<Hop> {
        self.diagnosis.hop
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.diagnosis.kind
    }

    /// Whether it may have happened: proved not, declined by the party that responded, possible, or done.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.diagnosis.effect
    }

    /// Whether it is proved that it did not happen: true for [`Effect::None`] alone.
    #[must_use]
    pub fn had_no_effect(&self) -> bool {
        self.effect().is_none()
    }

    /// The status, if there was an answer and the error tells.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.diagnosis.status
    }

    /// What happened, attempt by attempt, if the call was one of ours.
    #[must_use]
    pub fn timeline(&self) -> Option<&'e Timeline> {
        self.error.and_then(Error::timeline)
    }

    /// The error of ours, if there is one in the chain.
    #[must_use]
    pub fn error(&self) -> Option<&'e Error> {
        self.error
    }
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnosis { kind, effect, .. } = self.diagnosis;
        match (self.error, self.diagnosis.hop) {
            (Some(error), _) => error.fmt(f),
            (None, Some(hop)) => write!(f, "failed at {hop}: {kind}, effect {effect}"),
            (None, None) => write!(f, "failed: {kind}, effect {effect}"),
        }
    }
}
