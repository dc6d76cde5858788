//! Saves a request for a retry, and clones its body.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Buf;
use http::{Extensions, HeaderMap, Method, Request, Uri, Version};
use http_body::Body;
use http_body_util::{Empty, Full};

use crate::callback::{Site, ask};
use crate::destination::OtherOrigin;

/// A body that can be sent more than once.
///
/// Implemented for bodies in memory: a clone shares their bytes. For a foreign body type see
/// [`StandardLayer::clone_body_with`](crate::StandardLayer::clone_body_with).
#[diagnostic::on_unimplemented(
    message = "a retry sends the body `{Self}` again, and cannot clone it",
    label = "this body cannot be cloned",
    note = "implement `CloneBody` for it, or use `clone_body_with` of the layer"
)]
pub trait CloneBody: Sized {
    /// Returns the same body from its beginning; `None` if it can be sent only once. A panic counts
    /// as `None`.
    fn clone_body(&self) -> Option<Self>;

    /// Returns an empty body, for a redirect that drops the body (303 after a POST). With `None`, the default, such a
    /// redirect is the response of the call.
    #[must_use]
    fn empty_body() -> Option<Self> {
        None
    }

    /// Returns whether the body has content. The response to a read with content is never stored, nor is a stored one
    /// served. With `false`, the default, the headers of the request decide. A panic counts as `true`.
    fn has_content(&self) -> bool {
        false
    }
}

impl<D: Buf + Clone + Default> CloneBody for Full<D> {
    fn clone_body(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn empty_body() -> Option<Self> {
        Some(Self::new(D::default()))
    }

    fn has_content(&self) -> bool {
        !self.is_end_stream()
    }
}

impl<D> CloneBody for Empty<D> {
    fn clone_body(&self) -> Option<Self> {
        Some(Self::new())
    }

    fn empty_body() -> Option<Self> {
        Some(Self::new())
    }
}

impl CloneBody for String {
    fn clone_body(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn empty_body() -> Option<Self> {
        Some(Self::new())
    }
    fn has_content(&self) -> bool {
        !self.is_empty()
    }
}

impl CloneBody for () {
    fn clone_body(&self) -> Option<Self> {
        Some(())
    }

    fn empty_body() -> Option<Self> {
        Some(())
    }
}

/// Clones bodies of type `B`: by [`CloneBody`], or by functions.
pub trait BodyCloner<B>: sealed::Sealed {
    /// Returns the same body from its beginning.
    #[doc(hidden)]
    fn clone_body(&self, body: &B) -> Option<B>;

    /// Returns an empty body.
    #[doc(hidden)]
    fn empty_body(&self) -> Option<B>;

    /// Returns whether the body is known to have content.
    #[doc(hidden)]
    fn has_content(&self, _body: &B) -> bool {
        false
    }
}

/// Clones by the body's own [`CloneBody`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TraitCloner;

impl<B: CloneBody> BodyCloner<B> for TraitCloner {
    fn clone_body(&self, body: &B) -> Option<B> {
        ask(&CLONE_BODY, || body.clone_body())
    }

    fn empty_body(&self) -> Option<B> {
        ask(&EMPTY_BODY, B::empty_body)
    }

    fn has_content(&self, body: &B) -> bool {
        ask(&HAS_CONTENT, || Some(body.has_content())).unwrap_or(true)
    }
}

/// Clones no body: each request is sent once.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SentOnce;

impl<B> BodyCloner<B> for SentOnce {
    fn clone_body(&self, _body: &B) -> Option<B> {
        None
    }

    fn empty_body(&self) -> Option<B> {
        None
    }
}

/// Clones by functions, for foreign body types.
#[derive(Debug)]
pub struct FnCloner<B> {
    pub(crate) clone: fn(&B) -> Option<B>,
    pub(crate) empty: Option<fn() -> B>,
}

impl<B> Clone for FnCloner<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for FnCloner<B> {}

impl<B> BodyCloner<B> for FnCloner<B> {
    fn clone_body(&self, body: &B) -> Option<B> {
        ask(&CLONE, || (self.clone)(body))
    }

    fn empty_body(&self) -> Option<B> {
        self.empty.and_then(|empty| ask(&EMPTY, || Some(empty())))
    }
}

static CLONE_BODY: Site = Site::new("CloneBody::clone_body");
static EMPTY_BODY: Site = Site::new("CloneBody::empty_body");
static HAS_CONTENT: Site = Site::new("CloneBody::has_content");
static CLONE: Site = Site::new("clone_body_with: clone");
static EMPTY: Site = Site::new("clone_body_with: empty");

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {}
    impl Sealed for super::TraitCloner {}
    impl Sealed for super::SentOnce {}
    impl<B> Sealed for super::FnCloner<B> {}
}

/// The slot where a transport puts a body that no connection took, for the next attempt. It is in the request's
/// extensions, and exists only for a body that cannot be cloned.
pub(crate) struct UnsentBody<B>(Arc<Mutex<BodySlot<B>>>);

enum BodySlot<B> {
    Empty,
    Full(B),
    /// The request has another body now.
    Closed,
}

impl<B> UnsentBody<B> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(BodySlot::Empty)))
    }

    pub(crate) fn put(&self, body: B) {
        let mut place = self.lock();
        if matches!(*place, BodySlot::Empty) {
            *place = BodySlot::Full(body);
        }
    }

    fn take(&self) -> Option<B> {
        let mut place = self.lock();
        match std::mem::replace(&mut *place, BodySlot::Empty) {
            BodySlot::Full(body) => Some(body),
            other => {
                *place = other;
                None
            }
        }
    }

    fn close(&self) {
        *self.lock() = BodySlot::Closed;
    }

    fn is_full(&self) -> bool {
        matches!(*self.lock(), BodySlot::Full(_))
    }

    fn lock(&self) -> MutexGuard<'_, BodySlot<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Clone for UnsentBody<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Gives the body of a request back that was not sent, if it cannot be cloned. This driver or one around it may send it
/// again.
pub(crate) fn give_back<B: Send + 'static>(mut request: Request<B>) {
    if let Some(unsent) = request.extensions_mut().remove::<UnsentBody<B>>() {
        unsent.put(request.into_body());
    }
}

/// A request that was saved for a retry.
#[expect(
    unnameable_types,
    reason = "a driver's own part, seen in the type of its future"
)]
pub struct Saved<B> {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// `None` if there are only the driver's own extensions. That is the usual case, and costs no allocation.
    extensions: Option<Extensions>,
    body: Option<B>,
    unsent: Option<UnsentBody<B>>,
}

impl<B: Send + 'static> Saved<B> {
    /// Saves the head of a request and a clone of its body. A body that cannot be cloned may be returned by the inner
    /// service: the request carries the slot for it. The `own` extensions are added again for each attempt.
    #[inline]
    pub(crate) fn of(request: &mut Request<B>, own: usize, cloner: &impl BodyCloner<B>) -> Self {
        let body = cloner.clone_body(request.body());
        let extensions = request.extensions_mut();
        // A driver around this one may have created a slot already. Then both use it.
        let unsent = body
            .is_none()
            .then(|| extensions.get_or_insert_with(UnsentBody::new).clone());
        let has_more = extensions.len() > own;
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: match request.headers().is_empty() {
                true => HeaderMap::new(),
                false => request.headers().clone(),
            },
            extensions: has_more.then(|| request.extensions().clone()),
            body,
            unsent,
        }
    }
}

impl<B> fmt::Debug for Saved<B> {
    /// Leaves headers and body out: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl<B> Saved<B> {
    /// Returns whether there is a body to send again.
    pub(crate) fn is_replayable(&self) -> bool {
        self.body.is_some() || self.unsent.as_ref().is_some_and(UnsentBody::is_full)
    }

    /// Marks the request after a redirect to another origin. The mark stays, even if a later redirect leads back.
    pub(crate) fn lead_away(&mut self) {
        let extensions = self.extensions.get_or_insert_default();
        extensions.insert(OtherOrigin);
    }

    /// Replaces the body for the next request.
    pub(crate) fn replace_body(&mut self, body: B) {
        self.body = Some(body);
        if let Some(unsent) = self.unsent.take() {
            unsent.close();
        }
    }

    /// Returns the request for another attempt; `None` if its body is gone.
    pub(crate) fn again(&mut self, cloner: &impl BodyCloner<B>) -> Option<Request<B>> {
        let unsent = || self.unsent.as_ref().and_then(UnsentBody::take);
        let body = self.body.take().or_else(unsent)?;
        self.body = cloner.clone_body(&body);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        if let Some(extensions) = &self.extensions {
            *request.extensions_mut() = extensions.clone();
        }
        Some(request)
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
