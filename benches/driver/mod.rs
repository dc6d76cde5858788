//! Measures a case: calls in a row over a leaf in memory.
//!
//! The driver polls again without a wake-up, so no line includes the runtime.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tokio::task::unconstrained;
use tokio::time::Instant;
use tower::Service;

pub(crate) type Ask = Request<Full<Bytes>>;
pub(crate) type Answer = Response<Full<Bytes>>;

/// A measurement of every case.
pub(crate) trait Ruler {
    /// Measures calls with this request.
    fn measure<S, R>(&mut self, name: &str, request: &Ask, service: S)
    where
        S: Service<Ask, Response = Response<R>, Error: Debug>,
        R: Body<Error: Debug>;
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without sockets needs nothing")
}

/// Makes this number of calls in a row. Returns how long they took, without entering the runtime.
pub(crate) async fn calls<S, R>(service: &mut S, request: &Ask, times: u64) -> Duration
where
    S: Service<Ask, Response = Response<R>, Error: Debug>,
    R: Body<Error: Debug>,
{
    unconstrained(async {
        let start = Instant::now();
        for _ in 0..times {
            one_call(service, black_box(request).clone()).await;
        }
        start.elapsed()
    })
    .await
}

async fn one_call<S, R>(service: &mut S, request: Ask)
where
    S: Service<Ask, Response = Response<R>, Error: Debug>,
    R: Body<Error: Debug>,
{
    let ready = poll_fn(|cx| service.poll_ready(cx)).await;
    ready.expect("the leaf is always ready");
    // Pinned here: the stack does not pay for moves of its future by the caller.
    let mut answering = pin!(service.call(request));
    let response = poll_fn(|cx| eager(answering.as_mut(), cx)).await;
    let response = response.expect("the leaf always answers");
    let mut body = pin!(response.into_body());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.expect("the leaf's body does not break off");
        black_box(frame.is_data());
    }
}

/// Polls again at once instead of waiting for a wake-up.
pub(crate) fn eager<F: Future>(mut future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
    }
}

/// The innermost service.
#[derive(Clone, Copy)]
pub(crate) struct Leaf {
    /// Whether it responds at the second poll instead of the first.
    pub(crate) waits: bool,
}

impl Service<Ask> for Leaf {
    type Response = Answer;
    type Error = Infallible;
    type Future = LeafFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Ask) -> LeafFuture {
        LeafFuture {
            waits: self.waits,
            _request: request,
        }
    }
}

pub(crate) struct LeafFuture {
    waits: bool,
    _request: Ask,
}

impl Future for LeafFuture {
    type Output = Result<Answer, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.waits) {
            return Poll::Pending;
        }
        let body = Full::new(Bytes::from_static(b"{\"paid\":true}"));
        Poll::Ready(Ok(Response::new(body)))
    }
}

/// The deadline of a call.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
