//! Sends the refresh of a stale response in the background.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tower_service::Service;

use crate::policy::stale::Refresh;

/// Sends the refresh that a stale response asks for, with an empty body. It ends when the stored response is useless.
pub(crate) fn refresh<S, B, R>(
    response: &mut Response<R>,
    service: impl FnOnce() -> S,
    empty: impl FnOnce() -> B,
) where
    S: Service<Request<B>, Response = Response<R>, Future: Send> + Send + 'static,
    B: Send + 'static,
    R: Body + Send + 'static,
{
    let refresh = response.extensions_mut().remove::<Refresh>();
    let parts = refresh.and_then(Refresh::into_parts);
    let Some((request, (within, most_bytes), claim)) = parts else {
        return;
    };
    let (request, service) = (request.map(|()| empty()), service());
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        let _ = timeout(within, send(service, request, most_bytes)).await;
        drop(claim);
    });
}

/// Sends a request, and reads the response. The driver below stores it.
async fn send<S, B, R>(mut service: S, request: Request<B>, most_bytes: usize)
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    if poll_fn(|cx| service.poll_ready(cx)).await.is_err() {
        return;
    }
    let Ok(response) = service.call(request).await else {
        return;
    };
    let mut body = pin!(response.into_body());
    let mut read = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        read += frame.data_ref().map_or(0, Buf::remaining);
        // It is too long to be stored.
        if read > most_bytes {
            return;
        }
    }
}

pin_project! {
    /// The future of [`StaleService`](crate::layer::StaleService).
    ///
    /// # Cancel safety
    ///
    /// As that of the driver. A refresh in the background goes on.
    #[must_use = "futures do nothing unless polled"]
    pub struct RefreshFuture<F, S, B> {
        #[pin]
        inner: F,
        service: Option<S>,
        empty: fn() -> B,
    }
}

impl<F, S, B> RefreshFuture<F, S, B> {
    pub(crate) fn new(inner: F, service: S, empty: fn() -> B) -> Self {
        Self {
            inner,
            service: Some(service),
            empty,
        }
    }
}

impl<F, S, B, R, E> Future for RefreshFuture<F, S, B>
where
    F: Future<Output = Result<Response<R>, E>>,
    S: Service<Request<B>, Response = Response<R>, Future: Send> + Send + 'static,
    B: Send + 'static,
    R: Body + Send + 'static,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(service) = this.service.take() {
            refresh(&mut response, || service, *this.empty);
        }
        Poll::Ready(Ok(response))
    }
}

impl<F, S, B> std::fmt::Debug for RefreshFuture<F, S, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshFuture").finish_non_exhaustive()
    }
}
