//! Server-sent events.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use http::StatusCode;
use sevenhops::Kind;
use sevenhops::testing::{CannedResponse, FaultServer, Gate, Reply};
use sevenhops::timeout::{TimeoutKind, TimeoutsConfig};
use sevenhops::{Client, Hop, client::EventStream};

use crate::net::{Net, url};

const EVENTS: &str =
    ": hello\n\nid: 1\ndata: one\n\nevent: two\nretry: 1500\ndata: {}\ndata: []\n\ndata: lost\n";

fn stream(events: &'static str) -> CannedResponse {
    let stream = CannedResponse::new(StatusCode::OK).chunked();
    stream
        .header("content-type", "text/event-stream; charset=utf-8")
        .body(events)
}

async fn events(client: &Client, url: &str) -> EventStream {
    let response = client
        .get(url)
        .options(|options| options.streaming(true))
        .send()
        .await
        .unwrap();
    response.events().unwrap()
}

#[tokio::test]
async fn events_are_read_to_the_end_of_the_body() {
    let net = Net::new().await;
    let plain = FaultServer::builder().start().await.unwrap();
    let http2 = net.http2().await;
    for (server, url) in [
        (&plain, url(&plain, "http")),
        (&http2, url(&http2, "https")),
    ] {
        server.default_reply(stream(EVENTS));
        let mut events = events(&net.client(), &url).await;
        let one = events.next().await.unwrap().unwrap();
        assert_eq!(
            (one.event_type(), one.data(), one.last_event_id()),
            ("message", "one", "1")
        );
        let two = poll_fn(|cx| Pin::new(&mut events).poll_next(cx)).await;
        let two = two.unwrap().unwrap();
        assert_eq!(
            (two.event_type(), two.data(), two.last_event_id()),
            ("two", "{}\n[]", "1")
        );
        assert_eq!(events.next().await.unwrap(), None);
        assert_eq!(events.next().await.unwrap(), None);
        assert_eq!(events.last_event_id(), "1");
        assert_eq!(
            events.reconnection_time(),
            Some(Duration::from_millis(1_500))
        );
    }
}

#[tokio::test]
async fn stream_that_falls_silent_ends_after_the_body_idle_timeout() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let timeouts = TimeoutsConfig::new().body_idle(Duration::from_millis(100));
    let client = net
        .builder()
        .config(|config| config.timeouts(timeouts))
        .build()
        .unwrap();
    server.on_request([stream(EVENTS).hold_body(&Gate::new()).into()]);
    let mut events = events(&client, &url(&server, "http")).await;
    let error = events.next().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.timeout_kind()),
        (Some(Hop::Receive), Some(TimeoutKind::BodyIdle))
    );
    assert_eq!(events.next().await.unwrap(), None);
}

#[tokio::test]
async fn event_that_was_received_before_the_wait_was_dropped_is_not_lost() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let gate = Gate::new();
    server.on_request([stream(EVENTS).hold_body(&gate).into()]);
    let mut events = events(&net.client(), &url(&server, "http")).await;
    {
        let mut waiting = Box::pin(events.next());
        let polled = poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
    }
    gate.open();
    assert_eq!(events.next().await.unwrap().unwrap().data(), "one");
}

#[tokio::test]
async fn stream_that_breaks_off_and_event_without_end_are_errors() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream\r\ncontent-length: 99\r\n\r\ndata: one\n\nda";
    server.on_request([Reply::Garbage(cut.into())]);
    let mut events = events(&client, &url).await;
    assert_eq!(events.next().await.unwrap().unwrap().data(), "one");
    let error = events.next().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Receive), Kind::Incomplete)
    );
    assert_eq!(events.next().await.unwrap(), None);

    server.on_request([stream("data: 123456789\n\n").into()]);
    let request = client
        .get(&url)
        .options(|options| options.streaming(true))
        .body_limit(10);
    let mut events = request.send().await.unwrap().events().unwrap();
    assert_eq!(events.next().await.unwrap_err().kind(), Kind::TooLarge);
    assert_eq!(events.next().await.unwrap(), None);
}

#[tokio::test]
async fn response_that_is_not_an_event_stream_is_refused_before_it_is_read() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([
        CannedResponse::default().into(),
        Reply::Response(CannedResponse::new(StatusCode::NO_CONTENT)),
    ]);
    for _ in 0..2 {
        let response = net.client().get(url(&server, "http")).send().await.unwrap();
        let error = response.events().unwrap_err();
        assert_eq!(
            (error.hop(), error.kind()),
            (Some(Hop::Decode), Kind::Malformed)
        );
        let text = error.to_string();
        assert!(
            text.contains("its content type is not text/event-stream"),
            "{text}"
        );
    }
}
