use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::is_replayed;
use crate::box_error::BoxError;
use crate::call::Call;
use crate::error::Error;
use crate::hop::What;

pin_project! {
    /// The future of [`IdempotencyService`](super::IdempotencyService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F> {
        Refused { error: Option<Error> },
        Sent { #[pin] inner: F, call: Call },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, call: Call) -> Self {
        Self {
            state: State::Sent { inner, call },
        }
    }

    pub(super) fn refused(error: Error) -> Self {
        Self {
            state: State::Refused { error: Some(error) },
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<R>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjected::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
            StateProjected::Sent { inner, call } => match ready!(inner.poll(cx)) {
                Ok(response) => {
                    if is_replayed(response.headers()) {
                        call.note(What::Replayed);
                    }
                    Poll::Ready(Ok(response))
                }
                Err(error) => Poll::Ready(Err(Error::of_inner(error, Some(call)).of(call))),
            },
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
