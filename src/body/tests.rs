use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

use super::*;
use crate::hop::{Hop, Kind};

/// A stream that does not know its length.
struct Pieces(VecDeque<&'static str>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.pop_front();
        Poll::Ready(piece.map(|text| Ok(Frame::data(text.into()))))
    }
}

fn pieces(pieces: &[&'static str]) -> Body {
    Body::wrap(Pieces(pieces.iter().copied().collect()))
}

/// Returns a body that counts how often it is created.
fn counted(make: fn() -> Body) -> (Arc<AtomicU32>, Body) {
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    let body = Body::retryable(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        ready(Ok::<_, Infallible>(make()))
    });
    (count, body)
}

async fn read(body: Body) -> Result<Bytes, String> {
    let read = body.collect().await;
    read.map(|whole| whole.to_bytes()).map_err(chain)
}

fn chain(error: BoxError) -> String {
    let mut texts = Vec::new();
    let mut link: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    while let Some(error) = link {
        texts.push(error.to_string());
        link = error.source();
    }
    texts.join(": ")
}

#[tokio::test(start_paused = true)]
async fn function_is_called_once_for_each_clone_and_only_when_it_is_polled() {
    let (count, mut first) = counted(|| pieces(&["he", "llo"]));
    let mut second = first.clone_body().unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 0);
    for _ in 0..2 {
        first.prepare().await.unwrap();
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert_eq!(read(first).await.unwrap(), "hello");
    second.prepare().await.unwrap();
    let third = second.clone_body().unwrap();
    assert_eq!(read(second).await.unwrap(), "hello");
    assert_eq!(count.load(Ordering::Relaxed), 2);
    // If no transport prepares it, the body is created when it is first polled.
    assert_eq!(read(third).await.unwrap(), "hello");
    assert_eq!(count.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn length_is_the_created_bodys_or_the_announced_one() {
    let (_, mut bytes) = counted(|| Body::from("hello"));
    assert_eq!(bytes.size_hint().exact(), None);
    bytes.prepare().await.unwrap();
    assert_eq!(bytes.size_hint().exact(), Some(5));
    let (_, stream) = counted(|| pieces(&["he", "llo"]));
    let mut stream = stream.with_length(5);
    assert_eq!(stream.size_hint().exact(), Some(5));
    let again = stream.clone_body().unwrap();
    assert_eq!(again.size_hint().exact(), Some(5));
    stream.prepare().await.unwrap();
    let frame = stream.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "he");
    assert_eq!(stream.size_hint().exact(), Some(3));
    assert_eq!(read(stream).await.unwrap(), "llo");
}

#[tokio::test(start_paused = true)]
async fn other_length_than_the_announced_one_fails() {
    let short = "the request body has 5 bytes, 7 were announced";
    for body in [Body::from("hello"), counted(|| Body::from("hello")).1] {
        let error = body.with_length(7).prepare().await.unwrap_err();
        assert_eq!(
            (error.hop(), error.kind()),
            (Some(Hop::Encode), Kind::InvalidRequest)
        );
        assert!(error.to_string().contains(short), "{error}");
    }
    for (length, expected) in [
        (7, Err(short)),
        (
            3,
            Err("the request body has more than the 3 bytes that were announced"),
        ),
        (
            0,
            Err("the request body has more than the 0 bytes that were announced"),
        ),
        (5, Ok("hello")),
    ] {
        let made = counted(|| pieces(&["he", "llo"])).1;
        for body in [made, pieces(&["he", "llo"])] {
            let mut body = body.with_length(length);
            body.prepare().await.unwrap();
            let read = read(body).await;
            assert_eq!(
                read.as_deref().map_err(String::as_str),
                expected.map(str::as_bytes)
            );
        }
    }
    let empty = pieces(&[]).with_length(0);
    assert_eq!(read(empty).await.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn function_that_fails_or_panics_is_named() {
    let secret = || io::Error::other("token=canary");
    let missing = || io::Error::from_raw_os_error(2);
    let failing: [(Body, &str); 4] = [
        (
            Body::retryable(move || ready(Err::<Body, _>(secret()))),
            "call failed at encode: invalid request (the function of Body::retryable made no body); no effect",
        ),
        (
            Body::retryable(move || ready(Err::<Body, _>(missing()))).with_length(5),
            "call failed at encode: invalid request (the function of Body::retryable made no body: No such \
             file or directory (os error 2)); no effect",
        ),
        (
            Body::retryable(|| -> std::future::Ready<io::Result<Body>> { panic!("canary") }),
            "call failed at encode: invalid request (the function of Body::retryable made no body); no effect",
        ),
        (
            Body::retryable(|| async { panic!("canary") as io::Result<Body> }),
            "call failed at encode: invalid request (the function of Body::retryable made no body); no effect",
        ),
    ];
    for (mut body, expected) in failing {
        let lazy = body.clone_body().unwrap();
        let error = body.prepare().await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        // It does not become an empty body.
        assert!(!body.is_end_stream());
        body.prepare().await.unwrap_err();
        let frame = body.frame().await;
        assert!(matches!(frame, Some(Err(_))), "{frame:?}");
        let lazy = read(lazy).await.unwrap_err();
        let begin = "the source of the request body failed: the function of Body::retryable";
        assert!(lazy.starts_with(begin), "{lazy}");
    }
}

#[test]
fn dropped_body_drops_the_future_of_its_function() {
    let held = Arc::new(());
    let holds = Arc::clone(&held);
    let mut body = Body::retryable(move || {
        let holds = Arc::clone(&holds);
        async move {
            let _holds = holds;
            pending::<io::Result<Body>>().await
        }
    });
    let mut context = Context::from_waker(Waker::noop());
    assert!(body.poll_made(&mut context).is_pending());
    assert_eq!(Arc::strong_count(&held), 3);
    let again = body.clone_body().unwrap();
    drop(body);
    assert_eq!(Arc::strong_count(&held), 2);
    drop(again);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn stream_without_a_function_is_sent_once() {
    assert!(pieces(&["hello"]).clone_body().is_none());
    assert!(pieces(&["hello"]).with_length(5).clone_body().is_none());
    let bytes = Body::from("hello").with_length(5).clone_body().unwrap();
    assert_eq!(bytes.size_hint().exact(), Some(5));
}
