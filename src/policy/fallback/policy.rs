//! The user's function, behind the rule of callbacks.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;

use crate::callback::{Site, ask, require};
use crate::error::Error;

/// The user's function.
#[derive(Clone)]
pub(crate) struct Policy(Arc<Inner>);

struct Inner {
    site: Site,
    function: Box<Function>,
}

type Function = dyn Fn(&Error) -> Work + Send + Sync;
type Work = Pin<Box<dyn Future<Output = Option<Response<Bytes>>> + Send>>;

impl Policy {
    pub(crate) fn new<F, W>(name: &'static str, function: F) -> Self
    where
        F: Fn(&Error) -> W + Send + Sync + 'static,
        W: Future<Output = Option<Response<Bytes>>> + Send + 'static,
    {
        Self(Arc::new(Inner {
            site: Site::new(name),
            function: Box::new(move |error| Box::pin(function(error))),
        }))
    }

    /// Asks the function for a response. If it panics, there is none.
    pub(crate) fn ask(&self, error: &Error) -> Option<FallbackFuture> {
        let work = ask(&self.0.site, || Some((self.0.function)(error)))?;
        let by = self.clone();
        Some(FallbackFuture {
            work: Some(work),
            by,
        })
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policy").field(&self.0.site).finish()
    }
}

/// The response of the function, which may take time.
pub(crate) struct FallbackFuture {
    /// `None` once it is over.
    work: Option<Work>,
    by: Policy,
}

impl FallbackFuture {
    /// Ready with the response; `None` if the function has none, or if it panics.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Response<Bytes>>> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(None);
        };
        let polled = require(&self.by.0.site, || work.as_mut().poll(cx));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(response)) => {
                self.work = None;
                Poll::Ready(response)
            }
            Err(_panicked) => {
                // The future of a panic is not polled again.
                self.work = None;
                Poll::Ready(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::Waker;

    use super::*;

    fn polled<W>(function: impl Fn(&Error) -> W + Send + Sync + 'static) -> Option<Poll<bool>>
    where
        W: Future<Output = Option<Response<Bytes>>> + Send + 'static,
    {
        let policy = Policy::new("Test::fallback", function);
        let mut response = policy.ask(&Error::invalid())?;
        let mut cx = Context::from_waker(Waker::noop());
        let first = response.poll(&mut cx).map(|response| response.is_some());
        if first.is_ready() {
            assert!(matches!(response.poll(&mut cx), Poll::Ready(None)));
        }
        Some(first)
    }

    #[test]
    fn panic_of_the_function_or_its_future_counts_as_none() {
        let response = || Some(Response::new(Bytes::new()));
        assert_eq!(polled(move |_| ready(response())), Some(Poll::Ready(true)));
        assert_eq!(polled(|_| ready(None)), Some(Poll::Ready(false)));
        assert_eq!(polled(|_| pending()), Some(Poll::Pending));
        assert_eq!(
            polled(|_| async { panic!("later") }),
            Some(Poll::Ready(false))
        );
        let at_once =
            |_: &Error| -> std::future::Ready<Option<Response<Bytes>>> { panic!("at once") };
        assert_eq!(polled(at_once), None);
    }
}
