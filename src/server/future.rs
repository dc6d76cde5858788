use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::{Sleep, sleep_until};

use super::parent::Parent;
use super::rejection::expired;
use crate::call::restrain;
use crate::options::Options;

pin_project! {
    /// The future of [`InheritService`](super::InheritService).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the handler's future.
    #[must_use = "futures do nothing unless polled"]
    pub struct InheritFuture<F> {
        #[pin]
        handler: Option<TaskLocalFuture<Options, F>>,
        #[pin]
        end: Option<Sleep>,
        parent: Parent,
        is_grpc: bool,
        had_begun: bool,
    }
}

impl<F: Future> InheritFuture<F> {
    pub(super) fn running((handler, options): (F, Options), parent: Parent, is_grpc: bool) -> Self {
        Self {
            end: options.inherited.deadline.map(sleep_until),
            handler: Some(restrain(options, handler)),
            parent,
            is_grpc,
            had_begun: true,
        }
    }

    pub(super) fn rejected(is_grpc: bool) -> Self {
        Self {
            handler: None,
            end: None,
            parent: Parent::default(),
            is_grpc,
            had_begun: false,
        }
    }
}

impl<F, R, E> Future for InheritFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(handler) = this.handler.as_mut().as_pin_mut() {
            let polled = this.parent.within(|| handler.poll(cx));
            if polled.is_ready() {
                return polled;
            }
            match this.end.as_pin_mut() {
                Some(end) => ready!(end.poll(cx)),
                None => return Poll::Pending,
            }
            // The handler gives everything back before the caller gets the response.
            this.handler.set(None);
        }
        Poll::Ready(Ok(expired(*this.is_grpc, *this.had_begun)))
    }
}

impl<F> fmt::Debug for InheritFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InheritFuture").finish_non_exhaustive()
    }
}
