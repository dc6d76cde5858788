//! What the error of another client says, and whether it proves that the request did not go out.

use std::error::Error as StdError;

use super::evidence::evidence;
use crate::chain::chain;
use crate::hop::{Diagnosis, Effect, Hop, Kind, LimitExpired, Played};

impl Diagnosis {
    /// All there is is an error. The hop is told where the chain tells it, and the effect stays open:
    /// whose client it was may have followed a redirect, or sent the request twice, before it failed.
    pub(crate) fn foreign(error: &(dyn StdError + 'static)) -> Self {
        let evidence = evidence(error);
        if let Some(known) = evidence.known {
            return known;
        }
        let mut diagnosis = Self {
            hop: evidence.hop.or(evidence.set_up),
            kind: evidence.kind.unwrap_or(Kind::Other),
            effect: Effect::Possible,
            expired: evidence.expired,
            status: None,
        };
        if diagnosis.hop == Some(Hop::Encode) && !names_url(error) {
            diagnosis.effect = Effect::None;
        }
        if diagnosis.hop == Some(Hop::Connect) && diagnosis.kind == Kind::Unacknowledged {
            diagnosis.kind = Kind::Timeout;
        }
        #[cfg(feature = "reqwest")]
        diagnosis.of_reqwest(error);
        diagnosis
    }

    /// With a hop for what does not tell its own.
    pub(crate) fn or_at(mut self, hop: Hop) -> Self {
        self.hop.get_or_insert(hop);
        self
    }

    /// reqwest's outermost error says which end of the call it was.
    #[cfg(feature = "reqwest")]
    fn of_reqwest(&mut self, error: &(dyn StdError + 'static)) {
        use crate::hop::{Keyed, judge};
        let Some(reqwest) = chain(error).find_map(|error| error.downcast_ref::<reqwest::Error>())
        else {
            return;
        };
        if let Some(status) = reqwest.status() {
            self.status = Some(status);
            if let Some((hop, kind, _)) = judge(status, &http::HeaderMap::new(), Keyed::No) {
                (self.hop, self.kind) = (Some(hop), kind);
            }
        } else if reqwest.is_redirect() {
            (self.hop, self.kind) = (None, Kind::RedirectRefused);
        } else if reqwest.is_body() || reqwest.is_decode() {
            // It calls a body that broke off undecodable; one that is has no such cause.
            let broken = self.kind != Kind::Other || reqwest.is_body();
            (self.hop, self.kind) = match broken {
                true => (Some(Hop::Receive), self.kind),
                false => (Some(Hop::Decode), Kind::Malformed),
            };
        }
    }
}

/// Whether an error says of itself that no request went out: a connection was not made, or the server handed
/// the request back. That it came up while a stage of ours was open says nothing of what else the service did.
pub(super) fn is_proof(error: &(dyn StdError + 'static)) -> bool {
    let found = evidence(error);
    found.unprocessed || found.set_up.is_some() || found.hop.is_some() || {
        let mut causes = chain(error);
        causes.any(|cause| cause.is::<LimitExpired>() || cause.is::<Played>())
    }
}

/// Whether it may be where an answer led: reqwest says of a redirect to a scheme that it does not speak
/// (`myapp://paid`) what it says of such an URL in the request, and names it. What could not be put together at
/// all has none.
#[cfg(feature = "reqwest")]
fn names_url(error: &(dyn StdError + 'static)) -> bool {
    let mut errors = chain(error).filter_map(|error| error.downcast_ref::<reqwest::Error>());
    errors.any(|error| error.url().is_some())
}

#[cfg(not(feature = "reqwest"))]
fn names_url(_: &(dyn StdError + 'static)) -> bool {
    false
}
