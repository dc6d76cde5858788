//! Records the body of a good response while its caller reads it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::store::{Store, StoredResponse};
use super::target::Target;

/// A response whose body is being recorded. It is stored when the whole body has come.
pub(crate) struct Recording {
    to: (Arc<Store>, Target),
    stored: StoredResponse,
    bytes: BytesMut,
    most_bytes: usize,
}

impl Recording {
    pub(super) fn new(to: (Arc<Store>, Target), stored: StoredResponse, most_bytes: usize) -> Self {
        Self {
            to,
            stored,
            bytes: BytesMut::new(),
            most_bytes,
        }
    }

    /// Adds a piece. Returns false if the body is too long to be stored.
    #[must_use]
    pub(crate) fn add(&mut self, piece: &[u8]) -> bool {
        let fits = piece.len() <= self.most_bytes - self.bytes.len();
        if fits {
            self.bytes.extend_from_slice(piece);
        }
        fits
    }

    /// Stores the response: its whole body has come.
    pub(crate) fn end(mut self) {
        // Without spare room: only the length counts against the bound.
        self.stored.body = Bytes::copy_from_slice(&self.bytes);
        let (store, target) = self.to;
        store.put(&target, self.stored);
    }
}
