//! The idempotency key of a call, and what it is worth.

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
    /// What is put on a request that lacks it; none where that must not be.
    pub(crate) value: Option<HeaderValue>,
    /// The caller gave it by [`Options::idempotency_key`](crate::Options::idempotency_key).
    pub(crate) given: bool,
    /// Whether it is a license by itself, whatever is said of the server.
    pub(crate) is_license: bool,
    /// The caller brought or derived it, or said that the far side honours keys.
    pub(crate) vouched: bool,
    /// It was made for this call.
    pub(crate) made: bool,
    /// Until when the far side remembers it, where that is known.
    pub(crate) expires_at: Option<SystemTime>,
}

impl KeyMark {
    /// What it is to a call below, where this is said of the server.
    pub(super) fn below(&self, relation: Relation, honours: Option<bool>) -> Option<Self> {
        let mut mark = self.clone();
        match relation {
            Relation::Same => {}
            // The word on the server was on another request.
            Relation::Rewritten => mark.vouched &= mark.is_license,
            Relation::LedAway => (mark.vouched, mark.value) = (false, None),
            Relation::Operation => return None,
        }
        mark.vouched &= honours != Some(false);
        Some(mark)
    }
}

impl Call {
    /// Says which header carries the key of this call.
    pub(crate) fn mark_key(&self, mark: KeyMark) {
        let _ = self.0.state.key.set(mark);
    }

    pub(crate) fn key(&self) -> Option<&KeyMark> {
        self.own_key().or(self.0.state.outer_key.as_ref())
    }

    /// The key that an idempotency layer of this call has seen to.
    pub(crate) fn own_key(&self) -> Option<&KeyMark> {
        self.0.state.key.get()
    }

    /// Whether a request of this call carries a key that the far side is known to honour.
    pub(crate) fn vouches(&self, headers: &HeaderMap) -> bool {
        let known = |key: &KeyMark| key.vouched && headers.contains_key(&key.name);
        // What follows a redirect elsewhere goes on without it.
        self.key().is_some_and(known) && !self.leads_away()
    }

    /// Whether sending a request of this call twice is like sending it once: by its method, or because the
    /// caller says so. That word was on the call's own method and URL: no redirect takes it along.
    pub(crate) fn is_idempotent(&self, method: &Method) -> bool {
        let is_own = || !self.is_redirected() && !self.leads_away();
        method.is_idempotent() || self.options().idempotent && is_own()
    }

    /// What the key of a request is to the server.
    pub(crate) fn keyed(&self, headers: &HeaderMap) -> Keyed {
        match self.key() {
            _ if !self.vouches(headers) => Keyed::No,
            None => Keyed::No,
            Some(key) if !key.made => Keyed::Given,
            Some(_) => Keyed::Made,
        }
    }

    /// Whether a request of this call carries its key.
    pub(crate) fn carries_key(&self, headers: &HeaderMap) -> bool {
        self.key()
            .is_some_and(|key| headers.contains_key(&key.name))
    }

    /// How long the far side will remember the key of a request, where that is known.
    pub(crate) fn key_left(&self, headers: &HeaderMap) -> Option<Duration> {
        let key = self.key().filter(|key| headers.contains_key(&key.name))?;
        let left = key.expires_at?.duration_since(clock::wall());
        Some(left.unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_no_license_below_where_the_word_on_it_was_about_another_request() {
        let mark = |is_license| KeyMark {
            name: HeaderName::from_static("idempotency-key"),
            value: Some(HeaderValue::from_static("k-1")),
            given: false,
            is_license,
            vouched: true,
            made: !is_license,
            expires_at: None,
        };
        // (relation, by itself, said of the server) → (license, may be put on again)
        for (relation, is_license, honours, below) in [
            (Relation::Same, false, None, Some((true, true))),
            (Relation::Same, true, Some(false), Some((false, true))),
            (Relation::Rewritten, true, None, Some((true, true))),
            (Relation::Rewritten, false, None, Some((false, true))),
            (Relation::Rewritten, true, Some(false), Some((false, true))),
            (Relation::LedAway, true, Some(true), Some((false, false))),
            (Relation::Operation, true, None, None),
        ] {
            let told = format!("{relation:?} {is_license} {honours:?}");
            let mark = mark(is_license).below(relation, honours);
            let seen = mark.map(|mark| (mark.vouched, mark.value.is_some()));
            assert_eq!(seen, below, "{told}");
        }
    }
}
