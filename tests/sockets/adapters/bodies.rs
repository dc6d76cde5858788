//! `with_body`: uploads through reqwest-middleware whose body is created for each attempt.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Extensions, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Next, Result};
use sevenhops::hop::NoRetryReason;
use sevenhops::sdk::middleware::with_body;
use sevenhops::testing::{CannedResponse, Reply};
use sevenhops::{Body, Effect, Hop, Kind, StandardLayer, sdk};

use super::world::{BoxError, World, base, told};

/// A stream of pieces whose length is not known.
struct Pieces(VecDeque<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn content() -> Vec<u8> {
    (0..200_000_u32).map(|i| (i % 251) as u8).collect()
}

/// Returns a streamed upload, and how often it was created.
fn upload() -> (Arc<AtomicU32>, Body) {
    let made = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&made);
    let body = Body::retryable(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let pieces = content()
            .chunks(10_000)
            .map(Bytes::copy_from_slice)
            .collect();
        ready(Ok::<_, Infallible>(Pieces(pieces)))
    });
    (made, body)
}

fn foreign(world: &World) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(world.authority.client_config())
        .redirect(reqwest::redirect::Policy::none())
        .resolve("api.test", ([127, 0, 0, 1], 0).into())
        .build()
        .unwrap()
}

fn policies(world: &World) -> StandardLayer {
    StandardLayer::from_config(&world.settings()).unwrap()
}

/// Returns the stack over this crate's transport, over reqwest's, and above another stack.
fn stacks(world: &World) -> [ClientWithMiddleware; 3] {
    let chain = || ClientBuilder::new(foreign(world));
    [
        chain().with(world.client()).build(),
        chain().with(policies(world)).build(),
        chain().with(policies(world)).with(world.client()).build(),
    ]
}

fn has_io_error(error: &(dyn StdError + 'static)) -> bool {
    error.is::<io::Error>() || error.source().is_some_and(has_io_error)
}

fn unavailable() -> Reply {
    CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into()
}

#[tokio::test]
async fn upload_is_created_again_for_the_retry() {
    let world = World::new().await;
    let length = content().len() as u64;
    for client in stacks(&world) {
        for is_announced in [false, true] {
            let server = world.server().await;
            server.on_request([unavailable()]);
            let (made, mut body) = upload();
            if is_announced {
                body = body.with_length(length);
            }
            let request = with_body(client.put(base(&server)), body);
            assert_eq!(request.send().await.unwrap().status(), 200);
            let seen = server.requests();
            assert_eq!((seen.len(), made.load(Ordering::Relaxed)), (2, 2));
            for seen in seen {
                assert!(seen.body == content() && seen.body_complete);
                let announced = seen.headers.get(CONTENT_LENGTH);
                let announced = announced.map(|length| length.to_str().unwrap().to_owned());
                assert_eq!(announced, is_announced.then(|| length.to_string()));
                let is_chunked = seen.headers.contains_key(TRANSFER_ENCODING);
                assert_eq!(is_chunked, !is_announced);
            }
        }
    }
}

#[tokio::test]
async fn length_of_a_created_body_is_announced_if_it_is_known() {
    let world = World::new().await;
    for client in stacks(&world) {
        let server = world.server().await;
        let body = Body::retryable(|| ready(Ok::<_, Infallible>(Body::from("hello"))));
        let request = with_body(client.put(base(&server)), body);
        request.send().await.unwrap();
        assert_eq!(server.requests()[0].headers[CONTENT_LENGTH], "5");
    }
}

#[tokio::test]
async fn function_that_fails_fails_its_attempt_at_encode() {
    let world = World::new().await;
    for client in stacks(&world) {
        for good in [0, 1] {
            let server = world.server().await;
            server.on_request([unavailable()]);
            let made = AtomicU32::new(0);
            let body = Body::retryable(move || {
                ready(match made.fetch_add(1, Ordering::Relaxed) < good {
                    true => Ok(Body::from("hello")),
                    false => Err(io::Error::from(io::ErrorKind::NotFound)),
                })
            });
            let sent = with_body(client.put(base(&server)), body).send().await;
            let error = sent.unwrap_err();
            let found = sdk::classify_error(&error);
            let effect = match good {
                0 => Effect::None,
                _ => Effect::Possible,
            };
            let expected = told(Hop::Encode, Kind::InvalidRequest, effect);
            assert_eq!((found.hop(), found.kind(), found.effect()), expected);
            let error: Box<dyn StdError> = error.into();
            assert!(has_io_error(&*error), "{error:?}");
            assert_eq!(server.requests_seen(), good as usize);
        }
    }
}

#[tokio::test]
async fn stream_that_no_function_creates_is_not_retried() {
    let world = World::new().await;
    for client in stacks(&world).into_iter().take(2) {
        let wrapped = || Body::wrap(Pieces([Bytes::from("hello")].into()));
        let unkept = reqwest::Body::from(upload().1);
        let requests = [
            with_body(client.put("https://api.test/"), wrapped()),
            client.put("https://api.test/").body(unkept),
        ];
        for request in requests {
            let server = world.server().await;
            server.on_request([Reply::CloseAfterRequest]);
            let (client, request) = request.build_split();
            let mut request = request.unwrap();
            let port = server.addr().port();
            request.url_mut().set_port(Some(port)).unwrap();
            let error = client.execute(request).await.unwrap_err();
            let found = sdk::classify_error(&error);
            let reason = found.error().unwrap().no_retry_reason();
            assert_eq!(reason, Some(NoRetryReason::BodyNotReplayable));
            assert_eq!(server.requests_seen(), 1);
        }
    }
}

#[tokio::test]
async fn bytes_are_retried_as_before() {
    let world = World::new().await;
    for client in stacks(&world) {
        let server = world.server().await;
        server.on_request([unavailable()]);
        let request = with_body(client.put(base(&server)), Body::from("hello"));
        assert_eq!(request.send().await.unwrap().status(), 200);
        let seen = server.requests();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|seen| seen.body == "hello"));
    }
}

#[tokio::test]
async fn without_a_stack_the_upload_is_sent_once() {
    let world = World::new().await;
    let plain = ClientBuilder::new(foreign(&world)).build();
    let server = world.server().await;
    server.on_request([unavailable()]);
    let (made, body) = upload();
    let body = body.with_length(content().len() as u64);
    let request = with_body(plain.put(base(&server)), body);
    assert_eq!(request.send().await.unwrap().status(), 503);
    let seen = server.requests();
    assert!(seen.len() == 1 && seen[0].body == content());
    assert_eq!(seen[0].headers[CONTENT_LENGTH], content().len().to_string());
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

type Going<'a> = Pin<Box<dyn Future<Output = Result<reqwest::Response>> + Send + 'a>>;

/// Changes each byte of the body while it is sent.
fn inverting<'a>(
    mut request: reqwest::Request,
    extensions: &'a mut Extensions,
    next: Next<'a>,
) -> Going<'a> {
    let body = request.body_mut().take().unwrap();
    let inverted = body.map_frame(|frame| {
        frame.map_data(|data: Bytes| data.iter().map(|byte| !byte).collect::<Bytes>())
    });
    *request.body_mut() = Some(reqwest::Body::wrap(inverted));
    next.run(request, extensions)
}

/// Reads the body and puts another one in its place.
fn replacing<'a>(
    mut request: reqwest::Request,
    extensions: &'a mut Extensions,
    next: Next<'a>,
) -> Going<'a> {
    Box::pin(async move {
        let body = request.body_mut().take().unwrap();
        let read = body.collect().await?.to_bytes();
        *request.body_mut() = Some(format!("{} bytes", read.len()).into());
        next.run(request, extensions).await
    })
}

/// Sends a request of its own first, as a middleware that fetches a token does.
fn asking<'a>(
    request: reqwest::Request,
    extensions: &'a mut Extensions,
    next: Next<'a>,
) -> Going<'a> {
    Box::pin(async move {
        let mut token = reqwest::Request::new(http::Method::POST, request.url().clone());
        *token.body_mut() = Some("token, please".into());
        next.clone().run(token, extensions).await?;
        next.run(request, extensions).await
    })
}

#[tokio::test]
async fn body_that_middleware_left_is_sent() -> std::result::Result<(), BoxError> {
    let world = World::new().await;
    for is_client in [true, false] {
        let chain = || ClientBuilder::new(foreign(&world));
        let with_stack = |chain: ClientBuilder| match is_client {
            true => chain.with(world.client()).build(),
            false => chain.with(policies(&world)).build(),
        };
        let inverted: Vec<u8> = content().iter().map(|byte| !byte).collect();
        for (client, expected, attempts) in [
            (with_stack(chain().with(inverting)), inverted, 1),
            (
                with_stack(chain().with(replacing)),
                b"200000 bytes".into(),
                2,
            ),
        ] {
            let server = world.server().await;
            server.on_request([unavailable()]);
            let request = with_body(client.put(base(&server)), upload().1);
            let response = request.send().await?;
            assert_eq!(response.status(), if attempts == 1 { 503 } else { 200 });
            let seen = server.requests();
            assert_eq!(seen.len(), attempts);
            assert!(seen.iter().all(|seen| seen.body == expected));
        }
        let client = with_stack(chain().with(asking));
        let server = world.server().await;
        server.on_request([CannedResponse::new(StatusCode::OK).into(), unavailable()]);
        let request = with_body(client.put(base(&server)), upload().1);
        assert_eq!(request.send().await?.status(), 200);
        let seen = server.requests();
        assert_eq!((seen.len(), &seen[0].body[..]), (3, &b"token, please"[..]));
        assert!(seen[1..].iter().all(|seen| seen.body == content()));
    }
    Ok(())
}
