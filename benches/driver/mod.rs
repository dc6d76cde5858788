//! How a case is measured: calls in a row over a leaf in memory.
//!
//! The driver polls again without being woken, so no line contains the runtime.

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

/// Something that is found out about every case.
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

/// Calls so many times in a row; how long it took, without entering the runtime.
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
    // Pinned where it is made: how often a caller moves a future is not the stack's.
    let mut answering = pin!(service.call(request));
    let response = poll_fn(|cx| eager(answering.as_mut(), cx)).await;
    let response = response.expect("the leaf always answers");
    let mut body = pin!(response.into_body());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.expect("the leaf's body does not break off");
        black_box(frame.is_data());
    }
}

/// Polls again instead of waiting to be woken.
fn eager<F: Future>(mut future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
    }
}

/// The service below everything.
#[derive(Clone, Copy)]
pub(crate) struct Leaf {
    /// Whether it answers at the second poll, or at once.
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

/// Of a call.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
