//! The part of the policy that one call uses: a read of the store, or a write that makes a part of it useless.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use tokio::time::Instant;

use super::decide::{Purpose, Terms};
use super::recording::Recording;
use super::refresh::Claim;
use super::store::{Request, Store, StoredResponse};
use super::target::Target;
use super::{Consistency, StaleConfig};
use crate::clock;

/// The store, and the rules of a destination.
#[derive(Clone)]
pub(crate) struct Policy {
    store: Arc<Store>,
    consistency: Consistency,
    while_revalidate: Option<Duration>,
    is_shared: bool,
    body_bytes: usize,
}

/// How a call uses the store.
#[expect(clippy::large_enum_variant, reason = "it is always in a box")]
pub(crate) enum StoreUse {
    Read(Read),
    Write(Write),
}

impl Policy {
    pub(crate) fn new(store: Arc<Store>, config: &StaleConfig) -> Self {
        Self {
            store,
            consistency: config.get_consistency(),
            while_revalidate: config.get_while_revalidate(),
            is_shared: config.get_shared(),
            body_bytes: config.get_body_bytes(),
        }
    }

    /// Begins a call. `own` is the choice of its request. A call that must not get a stale response does not use the
    /// store, unless it writes. Nor does a read with content: that is not part of the key. A refresh only fills the
    /// store.
    pub(crate) fn begin(
        &self,
        (request, has_content): (Request<'_>, bool),
        (own, is_refresh): (Option<Consistency>, bool),
        now: Instant,
    ) -> Option<StoreUse> {
        let (method, uri, _) = request;
        if !method.is_safe() {
            return Some(StoreUse::Write(Write {
                slots: vec![self.store.slot(uri)],
                store: Arc::clone(&self.store),
                is_over: false,
            }));
        }
        if has_content {
            return None;
        }
        let window = own.unwrap_or(self.consistency).window()?;
        Some(StoreUse::Read(Read {
            target: self.store.target(request)?,
            policy: self.clone(),
            window,
            asked_at: now,
            is_refresh,
        }))
    }
}

/// A read that may get a stale response, and whose good response is stored.
pub(crate) struct Read {
    policy: Policy,
    target: Target,
    window: Duration,
    asked_at: Instant,
    is_refresh: bool,
}

/// The head of a stored response, its body and its age.
pub(crate) type Found = (Parts, Bytes, Duration);

impl Read {
    /// Returns the stored response that may stand in for a failure, and its age.
    pub(crate) fn after_failure(&self, now: Instant) -> Option<Found> {
        self.find((self.window, Purpose::Error), now)
    }

    /// Returns the stored response that may be used before the server is asked, and the claim to refresh it. There is
    /// no claim while another call refreshes it.
    pub(crate) fn before_asking(&self, now: Instant) -> Option<(Found, Option<Claim>)> {
        let most = self.policy.while_revalidate?.min(self.window);
        let found = self.find((most, Purpose::Revalidation), now)?;
        let claim = Claim::of(&self.policy.store, self.target.key);
        Some((found, claim))
    }

    /// Returns the time and the bytes that a refresh may take.
    pub(crate) fn bounds(&self) -> (Duration, usize) {
        (self.window, self.policy.body_bytes)
    }

    fn find(&self, (window, purpose): (Duration, Purpose), now: Instant) -> Option<Found> {
        if self.is_refresh {
            return None;
        }
        let stored = self.policy.store.get(&self.target)?;
        if !stored.terms.allows(self.policy.is_shared) {
            return None;
        }
        let since = now.saturating_duration_since(stored.asked_at);
        let bounds = (window, &self.target.control);
        let age = stored.terms.usable(since, bounds, purpose)?;
        Some((stored.head(age), stored.body.clone(), age))
    }

    /// Begins to record a response; `None` if it is not stored.
    pub(crate) fn record(&self, head: &Parts) -> Option<Recording> {
        let request = (&self.target.method, &self.target.headers);
        let response = (head.status, &head.headers);
        let terms = Terms::of(request, response, self.policy.is_shared)?;
        let length = head.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let most = self.policy.body_bytes;
        // A HEAD announces the length of a body that does not come.
        let is_long = self.target.method != http::Method::HEAD && length > Some(most);
        if is_long {
            return None;
        }
        let stored = StoredResponse::new(terms, head, Bytes::new(), self.asked_at);
        Some(Recording::new(
            (Arc::clone(&self.policy.store), self.target.clone()),
            stored,
            most,
        ))
    }
}

/// A call that may change something. Earlier responses from its URLs are not used any more (RFC 9111 §4.4).
pub(crate) struct Write {
    store: Arc<Store>,
    /// The slot of the call's URL, and of those to which redirects have led the write.
    slots: Vec<usize>,
    is_over: bool,
}

impl Write {
    /// Adds the URL to which a redirect leads the write.
    pub(crate) fn lead_to(&mut self, uri: &Uri) {
        self.slots.push(self.store.slot(uri));
    }

    fn note(&self, now: Instant) {
        for slot in &self.slots {
            self.store.write(*slot, now);
        }
    }

    /// Ends the call. Without an effect, the stored responses stay good.
    pub(crate) fn end(mut self, had_effect: bool, now: Instant) {
        self.is_over = true;
        if had_effect {
            self.note(now);
        }
    }
}

impl Drop for Write {
    /// The caller went away: the server may still act.
    fn drop(&mut self) {
        if !self.is_over {
            self.note(clock::now());
        }
    }
}

impl StoreUse {
    /// Returns the read, if it is one.
    pub(crate) const fn read(&self) -> Option<&Read> {
        match self {
            Self::Read(read) => Some(read),
            Self::Write(_) => None,
        }
    }
}
