//! Puts the key of a call into its requests.

use http::{HeaderMap, HeaderName, Request, Uri};
use uuid::Uuid;

use super::Settings;
use super::wanted::{Asked, Wanted, vouched, wanted};
use crate::call::{Call, KeyMark};
use crate::clock;
use crate::destination::Destination;
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Guard, Kind};
use crate::idempotency_key::{header, random, written};

impl Settings {
    /// Puts the key into the request and marks it in the call; or says why the request must not go.
    pub(crate) fn apply<B>(&self, request: &mut Request<B>, call: &Call) -> Option<Error> {
        // A stack around this one has seen to it: one key a call, and one word on it.
        if call.key().is_some() {
            return None;
        }
        let options = call.options();
        let method = request.method().clone();
        let (brought, sound) = brought(request.headers(), &self.header);
        let asked = Asked {
            method: &method,
            brought,
            sound,
            key: options.key.as_ref(),
            make: self.make_keys && !options.no_key,
            honours: options.honours_keys.or_else(|| self.honours(request.uri())),
        };
        let wanted = wanted(&asked);
        let value = match wanted {
            Wanted::None => return None,
            Wanted::Brought => {
                hide(request.headers_mut(), &self.header);
                None
            }
            Wanted::Given(key) => header(key.as_str(), self.quoted),
            Wanted::Made => written(made(call), self.quoted),
        };
        if let Some(value) = value {
            request.headers_mut().insert(self.header.clone(), value);
        }
        let expires_at = match wanted {
            Wanted::Given(key) => key.expires_at(),
            Wanted::None | Wanted::Brought | Wanted::Made => None,
        };
        call.mark_key(KeyMark {
            name: self.header.clone(),
            vouched: vouched(&asked, wanted),
            made: wanted == Wanted::Made,
            expires_at,
        });
        let expired = expires_at.is_some_and(|at| at <= clock::wall());
        expired.then(|| {
            // Whether an earlier call with it came through, nobody can tell any more.
            let mut diagnosis = Diagnosis::refusal(Kind::KeyExpired);
            diagnosis.effect = Effect::Possible;
            Error::refused(Guard::Idempotency, diagnosis).of(call)
        })
    }

    /// What was said of a destination, if anything.
    fn honours(&self, uri: &Uri) -> Option<bool> {
        if self.honoured_by_all {
            return Some(true);
        }
        if self.honoured_by.is_empty() {
            return None;
        }
        let destination = Destination::of(uri)?;
        self.honoured_by.contains(&destination).then_some(true)
    }
}

/// A key for a call: a fresh one, or that of the caller's earlier tries.
fn made(call: &Call) -> Uuid {
    #[cfg(feature = "middleware")]
    if let Some(caller) = call.callers_try() {
        return caller.key(random);
    }
    #[cfg(not(feature = "middleware"))]
    let _ = call;
    random()
}

/// Whether the header is there, and whether it can be one key.
fn brought(headers: &HeaderMap, name: &HeaderName) -> (bool, bool) {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return (false, false);
    };
    let sound = !first.as_bytes().trim_ascii().is_empty() && values.next().is_none();
    (true, sound)
}

/// Whoever knows a key can have its answer replayed: it is kept out of debug output.
fn hide(headers: &mut HeaderMap, name: &HeaderName) {
    if let Some(key) = headers.get_mut(name) {
        key.set_sensitive(true);
    }
}
