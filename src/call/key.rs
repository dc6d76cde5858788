//! The idempotency key of a call, and what it is worth.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

use super::Call;
use crate::clock;
use crate::hop::Keyed;

/// The idempotency key of a call, as far as repeating is concerned; its value is in the header.
#[derive(Clone, Debug)]
pub(crate) struct KeyMark {
    pub(crate) name: HeaderName,
    /// The caller brought or derived it, or said that the far side honours keys.
    pub(crate) vouched: bool,
    /// It was made for this call.
    pub(crate) made: bool,
    /// Until when the far side remembers it, where that is known.
    pub(crate) expires_at: Option<SystemTime>,
}

impl Call {
    /// Says which header carries the key of this call.
    pub(crate) fn mark_key(&self, mark: KeyMark) {
        let _ = self.0.state.key.set(mark);
    }

    pub(crate) fn key(&self) -> Option<&KeyMark> {
        self.0.state.key.get()
    }

    /// Whether a request of this call carries a key that the far side is known to honour.
    pub(crate) fn vouches(&self, headers: &HeaderMap) -> bool {
        self.key()
            .is_some_and(|key| key.vouched && headers.contains_key(&key.name))
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
