//! The redirects of a call.

use std::fmt;

use http::response::Parts;
use http::{Method, StatusCode, Uri};

use super::later::Resend;
use crate::call::{Call, Since};
use crate::diagnose::AttemptFailure;
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Kind, Policy, effect_of_response};
use crate::policy::redirect::{HeaderRules, NextLeg, RedirectConfig, RedirectRequest, next, prune};
use crate::redact::redacted;

/// The legs of a call so far.
#[derive(Debug, Default)]
pub(super) struct Legs {
    visited: Vec<(Method, Uri)>,
}

/// Where a response leads the call.
pub(super) enum Lead {
    /// The response leads to no other URL: it is the response of the call.
    Nowhere,
    /// The response leads to another URL. The kept request was changed into the next leg.
    On,
    /// The response leads to a URL that the call must not follow.
    Rejected(AttemptFailure),
}

impl Legs {
    /// Returns whether a redirect was followed.
    pub(super) fn is_redirected(&self) -> bool {
        !self.visited.is_empty()
    }

    /// Follows a redirect, if the response is one. `effect` is the effect that the legs may have had so far.
    pub(super) fn lead<N: Resend>(
        &mut self,
        (call, config, from): (&Call, &RedirectConfig, Since),
        head: &Parts,
        (later, effect): (&mut N, &mut Effect),
    ) -> Lead {
        let status = head.status;
        if !status.is_redirection() {
            return Lead::Nowhere;
        }
        let Some(saved) = later.saved() else {
            return Lead::Nowhere;
        };
        // A redirect that keeps the method says that this attempt had no effect.
        let before = call.effect_since(from).max(*effect);
        let response = effect_of_response(status, &head.headers, saved.method.is_safe());
        *effect = response.max(*effect);
        let (method, uri) = (saved.method.clone(), saved.uri.clone());
        let asked = RedirectRequest {
            method: &method,
            uri: &uri,
            status,
            replayable: saved.is_replayable(),
        };
        let leg = match next(&asked, &head.headers) {
            Ok(Some(leg)) => leg,
            Ok(None) => return Lead::Nowhere,
            Err(to) => return self.reject(Kind::RedirectRefused, (status, &to)),
        };
        let keeps_body = leg.keeps_body(&asked);
        let is_away = leg.away || !keeps_body;
        self.visited.push((method.clone(), uri.clone()));
        let to = (leg.method.clone(), leg.uri.clone());
        if self.visited.contains(&to) {
            return self.reject(Kind::RedirectLoop, (status, &to.1));
        }
        // The caller said that the request to the first URL is idempotent. That does not apply to the next URL.
        let may_repeat = method.is_idempotent() || before.is_none() || before.is_declined();
        if leg.away && keeps_body && !may_repeat {
            return self.refuse(Kind::RedirectRefused, (status, &to.1), true);
        }
        if self.visited.len() > config.redirect_limit() {
            return self.reject(Kind::TooManyRedirects, (status, &to.1));
        }
        if !keeps_body && !later.empty_body() {
            return Lead::Nowhere;
        }
        Self::change(call, config, (leg, keeps_body), later);
        call.redirected(status, (&to.1, is_away));
        Lead::On
    }

    /// Changes the kept request into the next leg.
    fn change<N: Resend>(
        call: &Call,
        config: &RedirectConfig,
        (leg, keeps_body): (NextLeg, bool),
        later: &mut N,
    ) {
        let Some(saved) = later.saved() else { return };
        let rules = HeaderRules {
            kept: config.get_keep_header_cross_origin(),
            key: call.key().map(|mark| &mark.name),
        };
        prune(&mut saved.headers, &leg, keeps_body, &rules);
        if leg.away {
            saved.lead_away();
        }
        (saved.method, saved.uri) = (leg.method, leg.uri);
    }

    fn reject(&self, kind: Kind, to: (StatusCode, &Uri)) -> Lead {
        self.refuse(kind, to, false)
    }

    fn refuse(&self, kind: Kind, (status, to): (StatusCode, &Uri), repeats: bool) -> Lead {
        let why = Refused {
            status,
            repeats,
            to: redacted(to),
            after: self.visited.len(),
        };
        let error = Error::refused(Policy::Redirect, Diagnosis::refusal(kind)).because(why);
        Lead::Rejected(error.into())
    }
}

/// A redirect that was refused.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    to: String,
    after: usize,
    /// Whether the redirect was refused because an earlier attempt may have been processed, and the key is not sent
    /// there.
    repeats: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {} leads to {}", self.status.as_u16(), self.to)?;
        if self.repeats {
            return f.write_str(
                ", without the idempotency key, after an attempt that may have been processed",
            );
        }
        match self.after {
            0 => Ok(()),
            1 => f.write_str(", after 1 request"),
            requests => write!(f, ", after {requests} requests"),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod messages {
    fn refused(after: usize, repeats: bool) -> super::Refused {
        super::Refused {
            status: http::StatusCode::FOUND,
            to: "http://api.test/a".to_owned(),
            after,
            repeats,
        }
    }

    crate::messages_tests::list!(Refused: refused(0, false), refused(1, false), refused(3, false), refused(1, true));
}
