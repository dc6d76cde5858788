//! Sending a request again: what is kept of it, and how cheaply.

use bytes::Buf;
use http::{Extensions, HeaderMap, Method, Request, Uri, Version};
use http_body_util::{Empty, Full};

use crate::call::Call;
use crate::callback::{Site, ask};

/// A body that can be sent more than once.
///
/// Implemented for bodies in memory: a copy shares their bytes. For a body type of somebody else's
/// see [`StandardLayer::replay_with`](crate::StandardLayer::replay_with).
pub trait Replay: Sized {
    /// The same body from its beginning; `None` if it can be sent only once. A panic is a `None`.
    fn replay(&self) -> Option<Self>;
}

impl<D: Buf + Clone> Replay for Full<D> {
    fn replay(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl<D> Replay for Empty<D> {
    fn replay(&self) -> Option<Self> {
        Some(Self::new())
    }
}

impl Replay for String {
    fn replay(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl Replay for () {
    fn replay(&self) -> Option<Self> {
        Some(())
    }
}

/// How bodies of type `B` are copied: by [`Replay`], or by a function.
pub trait Copies<B>: sealed::Sealed {
    /// The same body from its beginning.
    #[doc(hidden)]
    fn copy(&self, body: &B) -> Option<B>;
}

/// By the body's own [`Replay`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ByTrait;

impl<B: Replay> Copies<B> for ByTrait {
    fn copy(&self, body: &B) -> Option<B> {
        ask(&REPLAY, || body.replay())
    }
}

/// By a function, for body types that are not ours.
#[derive(Debug)]
pub struct ByFn<B>(pub(crate) fn(&B) -> Option<B>);

impl<B> Clone for ByFn<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for ByFn<B> {}

impl<B> Copies<B> for ByFn<B> {
    fn copy(&self, body: &B) -> Option<B> {
        ask(&COPY, || (self.0)(body))
    }
}

/// How a body of type `B` is left out, where a redirect drops it: by [`Default`], or by a function.
pub trait Empties<B>: Copies<B> {
    /// A body without a byte; `None` if there is none.
    #[doc(hidden)]
    fn empty(&self) -> Option<B>;
}

impl<B: Replay + Default> Empties<B> for ByTrait {
    fn empty(&self) -> Option<B> {
        ask(&DEFAULT, || Some(B::default()))
    }
}

/// By two functions, for body types that are not ours, where redirects are followed too.
#[derive(Debug)]
pub struct ByFns<B> {
    pub(crate) copy: fn(&B) -> Option<B>,
    pub(crate) empty: fn() -> B,
}

impl<B> Clone for ByFns<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for ByFns<B> {}

impl<B> Copies<B> for ByFns<B> {
    fn copy(&self, body: &B) -> Option<B> {
        ask(&COPY, || (self.copy)(body))
    }
}

impl<B> Empties<B> for ByFns<B> {
    fn empty(&self) -> Option<B> {
        ask(&EMPTY, || Some((self.empty)()))
    }
}

static REPLAY: Site = Site::new("Replay::replay");
static COPY: Site = Site::new("replay_with: copy");
static DEFAULT: Site = Site::new("Default::default of a body");
static EMPTY: Site = Site::new("replay_with: empty");

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {}
    impl Sealed for super::ByTrait {}
    impl<B> Sealed for super::ByFn<B> {}
    impl<B> Sealed for super::ByFns<B> {}
}

/// A request, kept so that it can be sent again.
pub(crate) struct Saved<B> {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// Nothing where the call is all there is: that is the usual case, and costs no allocation.
    pub(crate) extensions: Option<Extensions>,
    pub(crate) body: Option<B>,
}

impl<B> Saved<B> {
    pub(crate) fn of(request: &Request<B>, copies: &impl Copies<B>) -> Self {
        let only_call = request.extensions().len() <= 1;
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
            extensions: (!only_call).then(|| request.extensions().clone()),
            body: copies.copy(request.body()),
        }
    }

    /// A request that cannot be sent at all: what remains when one was moved out.
    pub(crate) fn nothing() -> Self {
        Self {
            method: Method::default(),
            uri: Uri::default(),
            version: Version::default(),
            headers: HeaderMap::new(),
            extensions: None,
            body: None,
        }
    }

    /// Keeps the body that came back from below because nothing took it.
    pub(crate) fn reclaim(&mut self, call: &Call)
    where
        B: 'static,
    {
        if self.body.is_none() {
            self.body = call.reclaim::<B>();
        }
    }

    /// The request once more; `None` if its body is gone.
    pub(crate) fn again(&mut self, call: &Call, copies: &impl Copies<B>) -> Option<Request<B>> {
        let body = self.body.take()?;
        self.body = copies.copy(&body);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        if let Some(extensions) = &self.extensions {
            *request.extensions_mut() = extensions.clone();
        }
        request.extensions_mut().insert(call.clone());
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Limit;
    use bytes::Bytes;

    #[tokio::test(start_paused = true)]
    async fn i17_repeat_is_identical_to_what_was_sent_first() {
        let mut request = Request::patch("https://api.test/v1/charges?a=1")
            .version(Version::HTTP_2)
            .header("x-one", "1")
            .header("x-one", "2")
            .extension("mine")
            .body(Full::new(Bytes::from_static(b"amount=100")))
            .unwrap();
        let call = Call::begin(&mut request, Limit::MAX);
        let mut saved = Saved::of(&request, &ByTrait);
        for _ in 0..2 {
            let again = saved.again(&call, &ByTrait).unwrap();
            assert_eq!(again.method(), request.method());
            assert_eq!(again.uri(), request.uri());
            assert_eq!(again.version(), request.version());
            assert_eq!(again.headers(), request.headers());
            assert_eq!(again.extensions().get::<&str>(), Some(&"mine"));
            assert!(Call::of(again.extensions()).is_some());
            assert_eq!(
                again.into_body().into_inner(),
                Some(Bytes::from_static(b"amount=100"))
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn i13_body_that_came_back_is_sent_again_once() {
        let mut request = Request::new("once");
        let call = Call::begin(&mut request, Limit::MAX);
        let never = ByFn::<&str>(|_| None);
        let mut saved = Saved::of(&request, &never);
        assert!(saved.again(&call, &never).is_none());
        call.give_back(Box::new("once"));
        saved.reclaim(&call);
        assert_eq!(saved.again(&call, &never).unwrap().into_body(), "once");
        assert!(saved.again(&call, &never).is_none());
    }
}
