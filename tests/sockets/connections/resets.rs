//! Tests that dropping a half-read HTTP/2 response, or ending one before its upload, sends a reset and harms no other
//! call.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use sevenhops::{
    Body, Client, Effect, TimeoutsConfig,
    testing::{CannedResponse, Gate},
};
use tokio::sync::{Notify, oneshot};

use super::raw::{END_STREAM, Peer, RST_STREAM, data, head, http2_client, serve};
use crate::net::{Net, url};

const DROPPED: usize = 1_200;
const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn thousand_half_read_responses_do_not_harm_other_calls() {
    let net = Net::new().await;
    let server = net.http2().await;
    let url = url(&server, "https");
    // The calls that stay open must last as long as all the others, however busy the machine is.
    let builder = Client::builder(3 * HOUR);
    let builder = builder
        .config(|config| config.timeouts(TimeoutsConfig::new().body_idle(HOUR).first_byte(HOUR)));
    let builder = builder.transport(|transport| transport.tls(net.authority.client_config()));
    let client = builder
        .transport(|transport| transport.resolver(net.dns.resolver()))
        .build()
        .unwrap();
    let gate = Gate::new();
    let held = [
        CannedResponse::json("1").hold_body(&gate),
        CannedResponse::json("2").hold(&gate),
    ];
    server.on_request(held.map(Into::into));
    let head = client.get(&url).send().await.unwrap();
    let waiting = {
        let (client, url) = (client.clone(), url.clone());
        tokio::spawn(async move {
            client
                .post(url)
                .body("10")
                .options(|options| options.retry(false))
                .fetch_bytes()
                .await
        })
    };
    server.wait_until(|stats| stats.requests == 2).await;
    server.default_reply(CannedResponse::new(StatusCode::OK).body(vec![7; 96 << 10]));
    for round in 0..DROPPED {
        let mut response = client
            .get(&url)
            .options(|options| options.retry(false))
            .send()
            .await
            .unwrap();
        let piece = response.chunk().await;
        piece.unwrap().unwrap();
        drop(response);
        if round % 100 == 0 {
            // A normal POST among all of them.
            let post = client
                .post(&url)
                .body("10")
                .options(|options| options.retry(false));
            let response = post.send().await.unwrap();
            assert_eq!(response.timeline().unwrap().effect(), Effect::Done);
        }
    }
    gate.open();
    assert_eq!(head.bytes().await.unwrap(), "1");
    assert_eq!(waiting.await.unwrap().unwrap(), "2");
    let whole = client
        .get(&url)
        .options(|options| options.retry(false))
        .fetch_bytes()
        .await
        .unwrap();
    assert_eq!(whole.len(), 96 << 10);
    assert_eq!(
        server.connections(),
        1,
        "no limit of the client ended the connection"
    );
}

/// A body that blocks its thread once the test says so, until the test lets it end.
struct Blocks {
    blocks: oneshot::Receiver<()>,
    has_begun: SyncSender<()>,
    ends: Receiver<()>,
}

impl http_body::Body for Blocks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let _ = ready!(Pin::new(&mut self.blocks).poll(cx));
        let _ = self.has_begun.try_send(());
        let _ = self.ends.recv();
        Poll::Ready(None)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn stream_of_an_upload_that_has_not_ended_is_not_given_to_another_call() {
    let net = Net::new().await;
    let ends = Arc::new(Notify::new());
    let end = Arc::clone(&ends);
    let address = serve(move |stream, number| {
        let end = Arc::clone(&end);
        async move {
            let mut peer = Peer::accept(stream, 1).await?;
            let mut stream = peer.request().await?;
            if number == 1 {
                // The response is complete before the request.
                peer.write(&[head(stream, 200, None, 0)]).await?;
                end.notified().await;
                peer.write(&[data(stream, b"", END_STREAM)]).await?;
                while peer.next().await?.kind != RST_STREAM {}
                stream = peer.request().await?;
            }
            peer.write(&[head(stream, 204, None, END_STREAM)]).await?;
            peer.linger().await
        }
    })
    .await;
    let (client, url) = (http2_client(&net), format!("http://{address}/"));
    let (has_begun, begins) = sync_channel(1);
    let (end_upload, upload_ends) = sync_channel::<()>(1);
    let (block, blocks) = oneshot::channel();
    let body = Blocks {
        blocks,
        has_begun,
        ends: upload_ends,
    };
    let first = client.post(&url).body(Body::wrap(body)).send();
    let first = first.await.unwrap();
    block.send(()).unwrap();
    tokio::task::spawn_blocking(move || begins.recv())
        .await
        .unwrap()
        .unwrap();
    ends.notify_one();
    first.bytes().await.unwrap();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let second = client
        .post(&url)
        .body("10")
        .options(|options| options.retry(false).deadline(Duration::from_secs(5)));
    let second = second.send().await;
    drop(end_upload);
    let second = second.expect("it has a connection of its own");
    assert!(!second.timeline().unwrap().attempts()[0].is_reused());
}
