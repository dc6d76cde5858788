//! Tests callbacks that panic in three nested standard stacks, over foreign services.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use sevenhops::policy::retry::CloneBody;
use sevenhops::telemetry::Propagator;
use sevenhops::{Effect, Error, Hop, StandardLayer};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

use super::calls::{SECRET, panics};
use super::log::Told;
use crate::mock::{request, standard, steady};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Foreign = Response<BoxBody<Bytes, BoxError>>;
type Leaf<B> = BoxCloneSyncService<Request<B>, Foreign, BoxError>;

/// Returns a foreign service that gives one response after another.
fn leaf<B: 'static>(
    replies: impl IntoIterator<Item = Result<Foreign, BoxError>>,
) -> (Leaf<B>, Arc<Mutex<u32>>) {
    let mut replies: Vec<_> = replies.into_iter().collect();
    replies.reverse();
    let (replies, sent) = (Arc::new(Mutex::new(replies)), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&sent);
    let service = service_fn(move |_request: Request<B>| {
        *counted.lock().unwrap() += 1;
        let reply = replies.lock().unwrap().pop();
        async move { reply.unwrap_or_else(|| Ok(saying(200))) }
    });
    (BoxCloneSyncService::new(service), sent)
}

fn saying(status: u16) -> Foreign {
    let body = Full::from("body").map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// A body that breaks off after one piece.
struct BreaksOff(Option<Bytes>, Option<BoxError>);

impl Body for BreaksOff {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = self.0.take().map(|piece| Ok(Frame::data(piece)));
        Poll::Ready(piece.or_else(|| self.1.take().map(Err)))
    }
}

fn breaking_off(error: BoxError) -> Foreign {
    let piece = Bytes::from_static(b"piece");
    Response::new(BreaksOff(Some(piece), Some(error)).boxed())
}

#[derive(Debug)]
struct Injecting;

impl Propagator for Injecting {
    fn inject(&self, _span: &tracing::Span, _headers: &mut HeaderMap) {
        panics()
    }
}

/// Returns a stack whose callbacks all panic, except for one that counts the finished calls.
fn panicking(ended: &Arc<Mutex<u32>>) -> StandardLayer {
    let ended = Arc::clone(ended);
    standard(steady())
        .classify(|_| panics())
        .trace_propagator(Injecting)
        .on_complete(|_| panics())
        .on_complete(move |_| *ended.lock().unwrap() += 1)
}

/// Calls through three such stacks, and reads the body.
async fn call<B>(leaf: Leaf<B>, request: Request<B>) -> (Result<StatusCode, Error>, u32)
where
    B: CloneBody + Send + 'static,
{
    let ended = Arc::default();
    let [outer, middle, inner] = [(); 3].map(|()| panicking(&ended));
    let service = outer.layer(middle.layer(inner.layer(leaf)));
    let read = async {
        let (head, body) = service.oneshot(request).await?.into_parts();
        body.collect().await.map(|_| head.status)
    };
    let read = tokio::time::timeout(Duration::from_secs(60), read).await;
    let ended = *ended.lock().unwrap();
    (read.unwrap(), ended)
}

#[tokio::test(start_paused = true)]
async fn call_succeeds_through_three_stacks_whose_callbacks_panic() {
    let (told, _guard) = Told::listen();
    let (leaf, sent) = leaf([Ok(saying(503))]);
    let (called, ended) = call(leaf, request(Method::GET)).await;
    assert_eq!(called.unwrap(), 200);
    assert_eq!(
        (*sent.lock().unwrap(), ended),
        (2, 5),
        "one call outside, and two for each attempt"
    );
    for callback in [
        "StandardLayer::classify",
        "StandardLayer::on_complete",
        "Propagator",
    ] {
        let all = told.callbacks();
        let times = all.iter().filter(|told| *told == callback).count();
        assert!(times >= 1, "{callback}: {all:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn foreign_error_stays_effect_possible_through_three_stacks() {
    let (_told, _guard) = Told::listen();
    for error in [
        BoxError::from("a string"),
        BoxError::from(io::Error::other("another")),
        BoxError::from(io::Error::other(BoxError::from("a string inside"))),
    ] {
        let said = error.to_string();
        let (leaf, sent) = leaf([Err(error)]);
        let (called, ended) = call(leaf, request(Method::POST)).await;
        let error = called.unwrap_err();
        assert_eq!(error.effect(), Effect::Possible, "{error}");
        assert_eq!((*sent.lock().unwrap(), ended), (1, 3), "{error}");
        let mut cause = std::error::Error::source(&error);
        let mut causes = String::new();
        while let Some(next) = cause {
            causes += &next.to_string();
            cause = next.source();
        }
        assert!(causes.contains(&said), "{said}: {causes}");
        assert!(!format!("{error:?}").contains(SECRET));
    }
}

#[tokio::test(start_paused = true)]
async fn foreign_body_that_breaks_off_fails_at_receive_through_three_stacks() {
    let (_told, _guard) = Told::listen();
    for error in [
        BoxError::from("a string"),
        BoxError::from(io::Error::other("another")),
        BoxError::from(io::Error::from(io::ErrorKind::ConnectionReset)),
    ] {
        let (leaf, sent) = leaf([Ok(breaking_off(error))]);
        let (called, ended) = call(leaf, request(Method::POST)).await;
        let error = called.unwrap_err();
        let found = (error.hop(), error.effect());
        assert_eq!(found, (Some(Hop::Receive), Effect::Done), "{error}");
        assert_eq!((*sent.lock().unwrap(), ended), (1, 3), "{error}");
    }
}

/// A body whose copy panics.
struct Mine;

impl CloneBody for Mine {
    fn clone_body(&self) -> Option<Self> {
        panics()
    }

    fn empty_body() -> Option<Self> {
        panics()
    }
}

#[tokio::test(start_paused = true)]
async fn body_whose_clone_function_panics_is_sent_once_through_three_stacks() {
    let (_told, _guard) = Told::listen();
    let mut see_other = saying(303);
    let elsewhere = http::HeaderValue::from_static("/v1/charges/2");
    see_other.headers_mut().insert("location", elsewhere);
    for (reply, status) in [(saying(503), 503), (see_other, 303)] {
        let (leaf, sent) = leaf([Ok(reply)]);
        let request = Request::get("https://api.test/v1/charges").body(Mine);
        let (called, ended) = call(leaf, request.unwrap()).await;
        assert_eq!(called.unwrap(), status);
        assert_eq!((*sent.lock().unwrap(), ended), (1, 3));
    }
}
