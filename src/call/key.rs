//! The idempotency key of a call, and whether the server honors it.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::Call;
use crate::clock;
use crate::hop::Keyed;
use crate::options::Relation;

/// The idempotency key of a call.
#[derive(Clone, Debug)]
pub(crate) struct KeyMark {
    pub(crate) name: HeaderName,
    /// The value to set on a request without it; `None` if it must not be set.
    pub(crate) value: Option<HeaderValue>,
    /// Whether the caller passed it with [`Options::idempotency_key`](crate::Options::idempotency_key).
    pub(crate) given: bool,
    /// Whether it permits a retry by itself, without a statement of the caller about the server.
    pub(crate) is_license: bool,
    /// Whether the caller passed or derived it, or said that the server honors keys.
    pub(crate) vouched: bool,
    /// Whether it was generated for this call.
    pub(crate) made: bool,
    /// Whether it was written as an sf-string. This means nothing for the caller's own header.
    pub(crate) quoted: bool,
    /// When the server forgets it, if that is known.
    pub(crate) expires_at: Option<SystemTime>,
}

impl KeyMark {
    /// Returns whether a config would write this key into the same header, in the same form. The caller's own header
    /// is left as it is under every config.
    pub(crate) fn is_written_as(&self, name: &HeaderName, quoted: bool) -> bool {
        let is_own_header = !self.given && !self.made;
        is_own_header || self.name == *name && self.quoted == quoted
    }

    /// Returns the mark for an inner call, given the caller's statement about the server.
    pub(super) fn below(&self, relation: Relation, honors: Option<bool>) -> Option<Self> {
        let mut mark = self.clone();
        match relation {
            Relation::Same => {}
            // The statement about the server was made for another request.
            Relation::Rewritten => mark.vouched &= mark.is_license,
            Relation::LedAway => (mark.vouched, mark.value) = (false, None),
            Relation::Operation => return None,
        }
        mark.vouched &= honors != Some(false);
        Some(mark)
    }
}

impl Call {
    /// Records the header that carries this call's key.
    pub(crate) fn mark_key(&self, mark: KeyMark) {
        let _ = self.0.state.key.set(mark);
    }

    pub(crate) fn key(&self) -> Option<&KeyMark> {
        self.own_key().or(self.0.state.outer_key.as_ref())
    }

    /// Returns the key that an idempotency layer of this call has set.
    pub(crate) fn own_key(&self) -> Option<&KeyMark> {
        self.0.state.key.get()
    }

    /// Returns whether a request of this call carries a key that the server is known to honor.
    pub(crate) fn vouches(&self, headers: &HeaderMap) -> bool {
        let known = |key: &KeyMark| key.vouched && headers.contains_key(&key.name);
        // After a redirect to another origin, the request continues without it.
        self.key().is_some_and(known) && !self.leads_away() && !self.is_key_refused()
    }

    /// Returns whether a request of this call can be sent twice safely: by its method, or because the caller says so.
    /// The caller's statement applies to the call's own method and URL, not after a redirect.
    pub(crate) fn is_idempotent(&self, method: &Method) -> bool {
        method.is_idempotent() || self.is_declared_idempotent()
    }

    /// Returns whether the caller says that the request can be sent twice safely.
    pub(crate) fn is_declared_idempotent(&self) -> bool {
        self.options().idempotent && !self.is_redirected() && !self.leads_away()
    }

    /// Returns the meaning of a request's key to the server.
    pub(crate) fn keyed(&self, headers: &HeaderMap) -> Keyed {
        match self.key() {
            _ if !self.vouches(headers) => Keyed::No,
            None => Keyed::No,
            Some(key) if !key.made => Keyed::Given,
            Some(_) => Keyed::Made,
        }
    }

    /// Returns whether a request of this call carries its key.
    pub(crate) fn carries_key(&self, headers: &HeaderMap) -> bool {
        self.key()
            .is_some_and(|key| headers.contains_key(&key.name))
    }

    /// Returns whether the server may have forgotten the key of a request. An earlier process may have used the key.
    pub(crate) fn is_key_expired(&self, headers: &HeaderMap) -> bool {
        self.key_left(headers) == Some(Duration::ZERO)
    }

    /// Returns how long the server will remember the key of a request, if that is known.
    pub(crate) fn key_left(&self, headers: &HeaderMap) -> Option<Duration> {
        let key = self.key()?;
        let expires_at = key.expires_at?;
        let left = || expires_at.duration_since(clock::wall());
        let is_sent = headers.contains_key(&key.name);
        is_sent.then(|| left().unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_permits_no_inner_retry_if_the_statement_was_about_another_request() {
        let mark = |is_license| KeyMark {
            name: HeaderName::from_static("idempotency-key"),
            value: Some(HeaderValue::from_static("k-1")),
            given: false,
            is_license,
            vouched: true,
            made: !is_license,
            quoted: false,
            expires_at: None,
        };
        // (relation, permits by itself, caller's statement about the server) → (permits a retry, may be set again)
        for (relation, is_license, honors, below) in [
            (Relation::Same, false, None, Some((true, true))),
            (Relation::Same, true, Some(false), Some((false, true))),
            (Relation::Rewritten, true, None, Some((true, true))),
            (Relation::Rewritten, false, None, Some((false, true))),
            (Relation::Rewritten, true, Some(false), Some((false, true))),
            (Relation::LedAway, true, Some(true), Some((false, false))),
            (Relation::Operation, true, None, None),
        ] {
            let case = format!("{relation:?} {is_license} {honors:?}");
            let mark = mark(is_license).below(relation, honors);
            let seen = mark.map(|mark| (mark.vouched, mark.value.is_some()));
            assert_eq!(seen, below, "{case}");
        }
    }

    #[test]
    fn key_is_known_only_under_the_header_and_form_that_the_config_names() {
        let names = ["idempotency-key", "x-request-key"].map(HeaderName::from_static);
        for (given, made, quoted) in [
            (true, false, false),
            (false, true, true),
            (false, false, false),
        ] {
            let mark = KeyMark {
                name: names[0].clone(),
                value: None,
                given,
                is_license: given,
                vouched: true,
                made,
                quoted,
                expires_at: None,
            };
            let brought = !given && !made;
            for (name, is_same) in [(&names[0], true), (&names[1], false)] {
                for form in [false, true] {
                    let expected = brought || is_same && form == quoted;
                    assert_eq!(mark.is_written_as(name, form), expected, "{mark:?} {name}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn key_is_expired_only_if_the_request_carries_it_and_its_time_is_over() {
        let name = HeaderName::from_static("idempotency-key");
        let later = clock::wall() + Duration::from_secs(60);
        let past = SystemTime::UNIX_EPOCH;
        for (expires_at, is_expired) in [(None, false), (Some(later), false), (Some(past), true)] {
            let mut request = http::Request::post("https://api.test/").body(()).unwrap();
            let call = Call::begin(&mut request, Duration::from_secs(10));
            call.mark_key(KeyMark {
                name: name.clone(),
                value: None,
                given: true,
                is_license: true,
                vouched: true,
                made: false,
                quoted: false,
                expires_at,
            });
            assert!(!call.is_key_expired(request.headers()));
            let key = HeaderValue::from_static("k-1");
            request.headers_mut().insert(name.clone(), key);
            assert_eq!(call.is_key_expired(request.headers()), is_expired);
        }
    }
}
