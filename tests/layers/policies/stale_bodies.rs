//! Tests which bodies are stored, and that a caller can go away at every point.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use sevenhops::policy::stale::StaleConfig;
use sevenhops::{Config, Consistency, Options, StaleLayer, StandardLayer};
use tower::{Layer, Service, ServiceExt};

use super::served::{Answer, Piece, answer, serving};
use crate::mock::{Mock, Step, saying, steady};

fn layer() -> StandardLayer {
    let stale = StaleConfig::new()
        .store_bytes(64 << 10)
        .consistency(Consistency::StaleFor(Duration::from_secs(60)));
    let settings = Config::new(Duration::from_secs(10)).retry(steady().attempts(1));
    StandardLayer::from_config(&settings.stale(stale)).unwrap()
}

fn get() -> Request<Full<Bytes>> {
    asking(Options::new())
}

fn asking(options: Options) -> Request<Full<Bytes>> {
    let request = Request::get("https://shop.test/wishes");
    let mut request = request.body(Full::default()).unwrap();
    request.extensions_mut().insert(options);
    request
}

const DATA: Piece = Piece::Data(Bytes::from_static(b"a bicycle"));

#[tokio::test(start_paused = true)]
async fn body_is_stored_if_all_of_it_has_come() {
    let long = Piece::Data(Bytes::from(vec![0; 32 << 10]));
    for (body, read, whole_body, is_stored) in [
        (vec![DATA], 9, false, true),
        (vec![DATA, DATA], 9, false, true),
        (vec![], 9, false, true),
        (vec![DATA, DATA], 1, false, false),
        (vec![DATA, DATA], 0, true, true),
        (vec![DATA, Piece::Broken], 9, false, false),
        (vec![DATA, Piece::EndsEarly], 9, false, false),
        (vec![DATA, Piece::Hang], 1, false, false),
        (vec![DATA, Piece::Trailer("x-sum", "1")], 9, false, false),
        (vec![DATA, Piece::Trailer("x-sum", "1")], 0, true, false),
        (vec![long.clone()], 9, false, true),
        (vec![long.clone(), DATA], 9, false, false),
        (vec![long, DATA], 0, true, false),
    ] {
        let good = Answer {
            body: body.clone(),
            ..answer(200, "")
        };
        let (service, _) = serving([good, answer(500, "down")]);
        let service = layer().layer(service);
        let options = match whole_body {
            true => Options::new().whole_body(1 << 20),
            false => Options::new(),
        };
        let mut response = service.clone().oneshot(asking(options)).await.unwrap();
        for _ in 0..read {
            let Some(Ok(_)) = response.body_mut().frame().await else {
                break;
            };
        }
        drop(response);
        let answered = service.clone().oneshot(get()).await.unwrap();
        let told = format!("{body:?} {read} {whole_body}");
        assert_eq!(answered.status() == 200, is_stored, "{told}");
        if is_stored {
            let data = |piece: &Piece| match piece {
                Piece::Data(data) => data.len(),
                _ => 0,
            };
            let length: usize = body.iter().map(data).sum();
            let bytes = answered.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(bytes.len(), length, "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stream_is_neither_stored_nor_answered_from_the_store() {
    let (service, _) = serving([answer(200, "a bicycle"), answer(500, "down")]);
    let service = layer().layer(service);
    let stream = || asking(Options::new().streaming(true));
    let first = service.clone().oneshot(stream()).await.unwrap();
    first.into_body().collect().await.unwrap();
    let second = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(second.status(), 500);

    let (service, _) = serving([answer(200, "a bicycle"), answer(500, "down")]);
    let service = layer().layer(service);
    let first = service.clone().oneshot(get()).await.unwrap();
    first.into_body().collect().await.unwrap();
    let second = service.clone().oneshot(stream()).await.unwrap();
    assert_eq!(second.status(), 500);
}

/// A search: its content says whose documents it wants.
fn search(tenant: &'static str) -> Request<Full<Bytes>> {
    get().map(|_| Full::from(tenant))
}

#[tokio::test(start_paused = true)]
async fn request_with_content_is_neither_stored_nor_answered_from_the_store() {
    let config = StaleConfig::new()
        .store_bytes(64 << 10)
        .consistency(Consistency::StaleFor(Duration::from_secs(60)))
        .while_revalidate(Duration::from_secs(60));
    let mock = || {
        Mock::new([
            saying(200, "of a"),
            saying(200, "of b"),
            saying(500, "down"),
        ])
    };
    let (alone, standard) = (mock(), mock());
    let layers = StaleLayer::new(config).unwrap();
    let read = async |request| {
        let one = layers.layer(alone.clone()).oneshot(request).await.unwrap();
        one.into_body().collect().await.unwrap().to_bytes()
    };
    assert_eq!(read(search("a")).await, "of a");
    assert_eq!(read(search("b")).await, "of b");
    assert_eq!(read(get()).await, "down");
    assert_eq!(alone.asked()[1].body, "b");
    let service = layer().layer(standard.clone());
    let read = async |request| {
        let one = service.clone().oneshot(request).await.unwrap();
        one.into_body().collect().await.unwrap().to_bytes()
    };
    assert_eq!(read(get()).await, "of a");
    assert_eq!(read(search("b")).await, "of b");
    assert_eq!(read(search("b")).await, "down");
}

#[tokio::test(start_paused = true)]
async fn caller_may_go_away_at_every_point() {
    // In the exchange.
    let mock = Mock::new([saying(200, "a bicycle"), Step::Hang]);
    let mut service = layer().layer(mock.clone());
    let first = service.clone().oneshot(get()).await.unwrap();
    first.into_body().collect().await.unwrap();
    let mut call = Box::pin(service.call(get()));
    assert!(futures_poll(call.as_mut()).await.is_none());
    drop(call);
    // Before the call is polled.
    drop(service.call(get()));
    // With a stale response whose body was not read.
    let mock = Mock::new([
        saying(200, "a bicycle"),
        saying(500, "down"),
        saying(500, "down"),
    ]);
    let service = layer().layer(mock);
    let first = service.clone().oneshot(get()).await.unwrap();
    first.into_body().collect().await.unwrap();
    let unread = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(unread.status(), 200);
    drop(unread);
    let again = service.clone().oneshot(get()).await.unwrap();
    let body = again.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "a bicycle");
}

#[tokio::test(start_paused = true)]
async fn write_whose_caller_went_away_may_have_had_an_effect() {
    for is_polled in [false, true] {
        let mock = Mock::new([saying(200, "old"), Step::Hang, saying(500, "down")]);
        let mut service = layer().layer(mock);
        let first = service.clone().oneshot(get()).await.unwrap();
        first.into_body().collect().await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut put = get();
        *put.method_mut() = Method::PUT;
        let mut call = Box::pin(service.call(put));
        if is_polled {
            assert!(futures_poll(call.as_mut()).await.is_none());
        }
        drop(call);
        let read = service.oneshot(get()).await.unwrap();
        assert_eq!(read.status(), 500, "{is_polled}");
    }
}

/// Polls a future once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
