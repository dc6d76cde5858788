//! Reads the error of another client, and whether it proves that the request was not sent.

use std::error::Error as StdError;

use super::evidence::{causes, evidence};
use crate::hop::{Diagnosis, Effect, Hop, InjectedFault, Kind, TimeoutElapsed};

impl Diagnosis {
    /// Diagnoses an error without any other fact. The hop comes from the error's chain, and the effect stays possible.
    /// The foreign client may have followed a redirect, or sent the request twice, before it failed.
    pub(crate) fn foreign(error: &(dyn StdError + 'static)) -> Self {
        let evidence = evidence(error);
        if let Some(known) = evidence.known {
            return known;
        }
        let mut diagnosis = Self {
            hop: evidence.hop.or(evidence.setup),
            kind: evidence.kind.unwrap_or(Kind::Other),
            effect: Effect::Possible,
            timeout_kind: evidence.timeout_kind,
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

    /// Sets the hop if the error does not show one.
    pub(crate) fn or_at(mut self, hop: Hop) -> Self {
        self.hop.get_or_insert(hop);
        self
    }

    /// Reads from reqwest's outermost error whether the request or the response failed.
    #[cfg(feature = "reqwest")]
    fn of_reqwest(&mut self, error: &(dyn StdError + 'static)) {
        use crate::hop::{Keyed, judge};
        let Some(reqwest) = causes(error).find_map(|error| error.downcast_ref::<reqwest::Error>())
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
            // reqwest reports a body that broke off as a decoding error. A real decoding error has no such cause.
            let broken = self.kind != Kind::Other || reqwest.is_body();
            (self.hop, self.kind) = match broken {
                true => (Some(Hop::Receive), self.kind),
                false => (Some(Hop::Decode), Kind::Malformed),
            };
        }
    }
}

/// Returns whether an error itself proves that no request was sent: the connection failed, or the server returned the
/// request unprocessed. An open stage of this crate proves nothing about other requests of the service.
pub(super) fn is_proof(error: &(dyn StdError + 'static)) -> bool {
    let found = evidence(error);
    found.unprocessed || found.setup.is_some() || found.hop.is_some() || {
        let mut causes = causes(error);
        causes.any(|cause| cause.is::<TimeoutElapsed>() || cause.is::<InjectedFault>())
    }
}

/// Returns whether the failed URL may be the target of a redirect. reqwest reports the same error for an unsupported
/// scheme (`myapp://paid`) in the request and in a redirect, and names the URL in both. A URL that could not be built
/// is not named.
#[cfg(feature = "reqwest")]
fn names_url(error: &(dyn StdError + 'static)) -> bool {
    let mut errors = causes(error).filter_map(|error| error.downcast_ref::<reqwest::Error>());
    errors.any(|error| error.url().is_some())
}

#[cfg(not(feature = "reqwest"))]
fn names_url(_: &(dyn StdError + 'static)) -> bool {
    false
}
