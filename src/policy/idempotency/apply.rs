//! Puts the key of a call into its requests.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Request, Uri};
use uuid::Uuid;

use super::IdempotencyConfig;
use super::decide::{KeyDecision, KeyRequest, kept, needs_key, vouched, wanted};
use crate::call::{Call, KeyMark};
use crate::destination::Destination;
use crate::error::Error;
use crate::idempotency_key::{header, random, written};
use crate::options::Unmet;

impl IdempotencyConfig {
    /// Puts the key into the request, and marks it in the call. Returns an error if the request must not be sent.
    pub(crate) fn apply<B>(&self, request: &mut Request<B>, call: &Call) -> Option<Error> {
        let options = call.options();
        if options.inherited.keys_differ {
            return Some(Unmet::OtherKey.into());
        }
        // The caller's own key takes precedence over one that an outer stack generated.
        let earlier = call.key();
        let earlier = earlier.filter(|mark| mark.given || options.key.is_none());
        let may_bring = earlier.is_some() || self.may_bring(request.headers());
        if !may_bring && options.key.is_none() && !needs_key(request.method()) {
            return None;
        }
        let name = match earlier {
            Some(mark) => Cow::Borrowed(&mark.name),
            None if may_bring => self.name_in(request.headers()),
            None => Cow::Borrowed(self.get_header()),
        };
        // A statement about the server holds for keys as this config writes them.
        let is_known =
            earlier.is_none_or(|mark| mark.is_written_as(self.get_header(), self.get_quoted()));
        let honors = || self.honors(request.uri()).filter(|_| is_known);
        let method = request.method().clone();
        let (brought, sound) = match may_bring {
            true => brought(request.headers(), &name),
            false => (false, false),
        };
        let asked = KeyRequest {
            method: &method,
            brought,
            sound,
            key: options.key.as_ref(),
            make: self.get_generate_keys() && !options.no_key && !options.idempotent,
            honors: options.honors_idempotency_keys.or_else(honors),
        };
        match earlier {
            Some(mark) => self.keep(request, call, (mark, &asked)),
            None => self.begin(request, call, (&name, &asked)),
        }
        None
    }

    /// Returns whether a request has one of the headers for keys.
    fn may_bring(&self, headers: &HeaderMap) -> bool {
        let own = self.get_header();
        let mut names = headers.keys();
        names.any(|name| name == own || *name == super::KEY || *name == super::X_KEY)
    }

    /// Returns the header of the key: the configured one, unless the caller used another usual name.
    fn name_in(&self, headers: &HeaderMap) -> Cow<'_, HeaderName> {
        if headers.contains_key(self.get_header()) {
            return Cow::Borrowed(self.get_header());
        }
        let usual = [super::KEY, super::X_KEY];
        let brought = usual.into_iter().find(|name| headers.contains_key(name));
        brought.map_or(Cow::Borrowed(self.get_header()), Cow::Owned)
    }

    /// Gives the call its key.
    fn begin<B>(
        &self,
        request: &mut Request<B>,
        call: &Call,
        (name, asked): (&HeaderName, &KeyRequest<'_>),
    ) {
        let wanted = wanted(asked);
        let headers = request.headers_mut();
        let value = match wanted {
            KeyDecision::None => return,
            KeyDecision::Brought => {
                hide(headers, name);
                None
            }
            KeyDecision::Given(key) => header(key.as_str(), self.get_quoted()),
            KeyDecision::Made => written(made(call), self.get_quoted()),
        };
        if let Some(value) = &value {
            headers.insert(name.clone(), value.clone());
        }
        let brought = || headers.get(name).filter(|_| asked.sound).cloned();
        call.mark_key(KeyMark {
            name: name.clone(),
            value: value.or_else(brought),
            given: matches!(wanted, KeyDecision::Given(_)),
            is_license: vouched(
                &KeyRequest {
                    honors: None,
                    ..*asked
                },
                wanted,
            ),
            vouched: vouched(asked, wanted),
            made: wanted == KeyDecision::Made,
            quoted: self.get_quoted(),
            expires_at: match wanted {
                KeyDecision::Given(key) => key.expires_at(),
                KeyDecision::None | KeyDecision::Brought | KeyDecision::Made => None,
            },
        });
    }

    /// Ensures that a request carries the key of its call. Another layer may have worked on another copy of the
    /// request.
    fn keep<B>(
        &self,
        request: &mut Request<B>,
        call: &Call,
        (mark, asked): (&KeyMark, &KeyRequest<'_>),
    ) {
        let is_own = call.own_key().is_some();
        let replaces = is_own && mark.given;
        let kept = kept(asked, replaces, mark.vouched);
        if let Some(value) = mark
            .value
            .as_ref()
            .filter(|_| kept.is_put && !call.is_led_to(request))
        {
            request
                .headers_mut()
                .insert(mark.name.clone(), value.clone());
        }
        if !is_own {
            call.mark_key(KeyMark {
                vouched: kept.is_vouched,
                ..mark.clone()
            });
        }
    }

    /// Returns whether a destination honors keys, if the config says so.
    pub(crate) fn honors(&self, uri: &Uri) -> Option<bool> {
        if self.get_honored_by_all() {
            return Some(true);
        }
        if self.get_honored_by().is_empty() {
            return None;
        }
        let destination = Destination::of(uri)?;
        self.get_honored_by().contains(&destination).then_some(true)
    }
}

/// Returns a key for a call: a fresh one, or that of the caller's earlier tries.
fn made(call: &Call) -> Uuid {
    #[cfg(feature = "reqwest-middleware")]
    if let Some(caller) = call.callers_try() {
        return caller.key(random);
    }
    #[cfg(not(feature = "reqwest-middleware"))]
    let _ = call;
    random()
}

/// Returns whether the header is present, and whether it can be one key.
fn brought(headers: &HeaderMap, name: &HeaderName) -> (bool, bool) {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return (false, false);
    };
    let sound = !first.as_bytes().trim_ascii().is_empty() && values.next().is_none();
    (true, sound)
}

/// Marks the key as sensitive, so that debug output hides it. With the key, a third party could replay the response.
fn hide(headers: &mut HeaderMap, name: &HeaderName) {
    if let Some(key) = headers.get_mut(name) {
        key.set_sensitive(true);
    }
}
