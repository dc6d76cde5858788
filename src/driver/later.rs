//! Whether a driver may send a request later, or again. This is the only property of a driver that is a type.

use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

use crate::box_error::BoxError;
use crate::replay::{BodyCloner, Saved, TraitCloner, give_back};

/// A driver that sends immediately, and only once. It calls its service once, so the service need not be `Clone`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Now;

/// A driver that may send a request again. Its service is [`Clone`], and `C` clones bodies.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Again<C = TraitCloner>(pub(crate) C);

/// How a driver sends another request after the first one. Unless a method is implemented, it sends none.
#[expect(
    unnameable_types,
    reason = "a driver's own part, seen in the type of its future"
)]
pub trait Resend {
    /// The request's body.
    type Body;
    /// The future of the service.
    type Future;

    /// Returns the kept request, if there is one.
    fn saved(&mut self) -> Option<&mut Saved<Self::Body>> {
        None
    }

    /// Returns whether the request can be sent once more, with its body.
    fn is_replayable(&mut self) -> bool {
        self.saved().is_some_and(|saved| saved.is_replayable())
    }

    /// Replaces the kept body by an empty one. Returns false if there is no such body.
    fn empty_body(&mut self) -> bool {
        false
    }

    /// Returns the request once more; `None` if its body is gone.
    fn again(&mut self) -> Option<Request<Self::Body>> {
        None
    }

    /// Polls the service for readiness.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    /// Sends a request through a ready service.
    fn send(&mut self, _request: Request<Self::Body>) -> Option<Self::Future> {
        None
    }

    /// Keeps a request that waits for a policy, until [`send_held`](Self::send_held).
    fn hold(&mut self, _request: Request<Self::Body>) {}

    /// Takes back a request that a policy has rejected: the body of a request that cannot be cloned is kept for the
    /// next attempt.
    fn take_back(&mut self, _request: Request<Self::Body>) {}

    /// Does the same with the request that waits, and frees the service that was ready for it.
    fn take_back_held(&mut self) {}

    /// Returns the request that waits.
    fn held(&mut self) -> Option<&mut Request<Self::Body>> {
        None
    }

    /// Sends the request that waits, through the service that was ready for it.
    fn send_held(&mut self) -> Option<Self::Future> {
        None
    }
}

/// Sends nothing after the first request.
#[derive(Debug)]
pub struct Once<B, F>(PhantomData<Sends<B, F>>);

type Sends<B, F> = fn(B) -> F;

impl<B, F> Once<B, F> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<B, F> Resend for Once<B, F> {
    type Body = B;
    type Future = F;
}

/// Sends the kept request through a clone of the service. It is empty if no request may follow.
#[expect(
    unnameable_types,
    reason = "a driver's own part, seen in the type of its future"
)]
pub struct Later<S, B, C> {
    pub(super) kept: Option<KeptRequest<S, B>>,
    pub(super) held: Option<Box<Held<S, B>>>,
    pub(super) cloner: C,
}

/// A request that waits for a policy.
pub(crate) struct Held<S, B> {
    pub(super) request: Request<B>,
    /// The service that was polled ready for it; `None` if that is the kept one.
    pub(super) service: Option<S>,
}

/// The request and the service for later attempts.
pub(crate) struct KeptRequest<S, B> {
    pub(super) service: S,
    pub(super) request: Saved<B>,
}

impl<S, B, C> Resend for Later<S, B, C>
where
    S: Service<Request<B>, Error: Into<BoxError>>,
    B: Send + 'static,
    C: BodyCloner<B>,
{
    type Body = B;
    type Future = S::Future;

    fn saved(&mut self) -> Option<&mut Saved<B>> {
        self.kept.as_mut().map(|kept| &mut kept.request)
    }

    fn empty_body(&mut self) -> bool {
        let empty = self.cloner.empty_body();
        let kept = self.kept.as_mut().zip(empty);
        kept.map(|(kept, empty)| kept.request.replace_body(empty))
            .is_some()
    }

    fn again(&mut self) -> Option<Request<B>> {
        let kept = self.kept.as_mut()?;
        kept.request.again(&self.cloner)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.kept.as_mut() {
            Some(kept) => kept.service.poll_ready(cx).map_err(Into::into),
            None => Poll::Ready(Ok(())),
        }
    }

    fn send(&mut self, request: Request<B>) -> Option<S::Future> {
        let kept = self.kept.as_mut()?;
        Some(kept.service.call(request))
    }

    fn hold(&mut self, request: Request<B>) {
        let service = None;
        self.held = Some(Box::new(Held { request, service }));
    }

    fn take_back(&mut self, request: Request<B>) {
        give_back(request);
    }

    fn take_back_held(&mut self) {
        if let Some(held) = self.held.take() {
            self.take_back(held.request);
        }
    }

    fn held(&mut self) -> Option<&mut Request<B>> {
        self.held.as_mut().map(|held| &mut held.request)
    }

    fn send_held(&mut self) -> Option<S::Future> {
        let Held { request, service } = *self.held.take()?;
        match service {
            Some(mut ready) => Some(ready.call(request)),
            None => self.send(request),
        }
    }
}

impl<S, B> fmt::Debug for Held<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl<S, B> fmt::Debug for KeptRequest<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRequest").finish_non_exhaustive()
    }
}

impl<S, B, C> fmt::Debug for Later<S, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later")
            .field("kept", &self.kept.is_some())
            .field("held", &self.held.is_some())
            .finish_non_exhaustive()
    }
}
