//! Tests that a request that was given up before it was taken never reaches the wire, and that the record says so.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use sevenhops::testing::{CannedResponse, ConnFault, Gate, TimelineRecorder};
use sevenhops::{Blame, Body, Client, Effect, Hop, Kind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::raw::serve;
use crate::net::{Net, url};

/// Polls a future this number of times, and then gives it up.
struct GivenUp<F>(F, usize);

impl<F: Future + Unpin> Future for GivenUp<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        self.1 -= 1;
        let polled = Pin::new(&mut self.0).poll(cx);
        match polled {
            Poll::Pending if self.1 == 0 => Poll::Ready(None),
            other => other.map(Some),
        }
    }
}

/// The bytes that the server read, and the numbers of begun and closed connections.
#[derive(Debug, Default)]
struct Read {
    bytes: watch::Sender<String>,
    over: watch::Sender<(usize, usize)>,
}

impl Read {
    /// Responds to GETs, and reads until the connection is closed.
    async fn answer_gets(self: Arc<Self>, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut piece = [0; 1024];
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            let text = String::from_utf8_lossy(&piece[..length]).into_owned();
            let is_get = text.starts_with("GET");
            self.bytes.send_modify(|bytes| bytes.push_str(&text));
            if is_get {
                let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                let _ = stream.write_all(response).await;
                let _ = stream.flush().await;
            }
        }
    }
}

struct World {
    net: Net,
    read: Arc<Read>,
    url: String,
}

impl World {
    async fn new(secure: bool) -> Self {
        let net = Net::new().await;
        let read = Arc::new(Read::default());
        let all = Arc::clone(&read);
        let identity = net.authority.issue(&["api.test"]).unwrap();
        let acceptor = TlsAcceptor::from(identity.server_config(&[b"http/1.1"]));
        let address = serve(move |stream, _| {
            let (acceptor, read) = (acceptor.clone(), Arc::clone(&all));
            async move {
                read.over.send_modify(|(begun, _)| *begun += 1);
                match secure {
                    false => Arc::clone(&read).answer_gets(stream).await,
                    true => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            Arc::clone(&read).answer_gets(stream).await;
                        }
                    }
                }
                read.over.send_modify(|(_, over)| *over += 1);
                io::Result::Ok(())
            }
        })
        .await;
        let scheme = if secure { "https" } else { "http" };
        let url = format!("{scheme}://api.test:{}/", address.port());
        Self { net, read, url }
    }
}

/// Polls a POST this number of times, and drops it. Returns the bytes that the server read of it, and whether its
/// record says that it was taken.
async fn given_up(world: &World, polls: usize, is_pooled: bool) -> (String, bool) {
    let recorder = TimelineRecorder::new();
    let client = world.net.builder().on_complete(recorder.listener());
    let client: Client = client.build().unwrap();
    if is_pooled {
        client.get(&world.url).fetch_bytes().await.unwrap();
    }
    let before = recorder.timelines().len();
    world.read.bytes.send_replace(String::new());
    let post = client
        .post(&world.url)
        .body("amount=10")
        .options(|options| options.retry(false));
    {
        let call = pin!(post.send());
        let mut read = world.read.bytes.subscribe();
        let all = read.wait_for(|read| read.contains("amount=10"));
        tokio::select! {
            biased;
            ended = GivenUp(call, polls) => assert!(ended.is_none(), "the server never responds"),
            _ = all => {}
        }
    }
    let timelines = recorder.timelines();
    // The connections close with their pool. By then all sent bytes have arrived.
    drop(client);
    let mut over = world.read.over.subscribe();
    over.wait_for(|(begun, over)| begun == over).await.unwrap();
    let attempts = timelines.get(before).map(|timeline| timeline.attempts());
    let attempts = attempts.unwrap_or_default();
    let read = world.read.bytes.borrow().clone();
    (read, attempts.iter().any(|attempt| attempt.is_taken()))
}

/// Returns how many requests were given up in time, for a new and for a pooled connection.
async fn bytes_that_went_out_were_taken(secure: bool, rounds: usize) -> [usize; 2] {
    let world = World::new(secure).await;
    let mut unsent = [0; 2];
    for is_pooled in [false, true] {
        for polls in (1..25).cycle().take(24 * rounds) {
            let (read, is_taken) = given_up(&world, polls, is_pooled).await;
            let case = format!("{secure} {is_pooled} {polls}: {read:?}");
            assert!(is_taken || read.is_empty(), "not taken, {case}");
            unsent[usize::from(is_pooled)] += usize::from(!is_taken);
        }
    }
    unsent
}

#[tokio::test]
async fn http1_request_reaches_the_wire_only_if_its_record_says_so() {
    for secure in [false, true] {
        let unsent = bytes_that_went_out_were_taken(secure, 2).await;
        assert!(
            unsent.iter().all(|unsent| *unsent > 0),
            "{secure} {unsent:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn http1_request_reaches_the_wire_only_if_its_record_says_so_between_threads() {
    // Whether a request is given up in time is a race with the task of its connection.
    for secure in [false, true] {
        bytes_that_went_out_were_taken(secure, 10).await;
    }
}

/// A body that reports when it is polled, and gives no piece until the test allows it.
struct Stalls(SyncSender<()>, Receiver<()>, bool);

impl http_body::Body for Stalls {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.2, true) {
            return Poll::Ready(None);
        }
        let _ = self.0.send(());
        let _ = self.1.recv();
        Poll::Ready(Some(Ok(http_body::Frame::data("amount=10".into()))))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn http1_request_whose_head_is_encoded_does_not_go_out_after_it_was_given_up() {
    for (secure, is_pooled) in [(false, false), (false, true), (true, false), (true, true)] {
        let world = World::new(secure).await;
        let recorder = TimelineRecorder::new();
        let client = world.net.builder().on_complete(recorder.listener());
        let client: Client = client.build().unwrap();
        if is_pooled {
            client.get(&world.url).fetch_bytes().await.unwrap();
            world.read.bytes.send_replace(String::new());
        }
        let (reached, reaches) = sync_channel(1);
        let (goes_on, go_on) = sync_channel(1);
        let body = Body::wrap(Stalls(reached, go_on, false));
        let call = tokio::spawn(client.post(&world.url).body(body).send());
        // The connection's task has the head, and has not written it.
        let waiting = tokio::task::spawn_blocking(move || reaches.recv());
        waiting.await.unwrap().unwrap();
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        goes_on.send(()).unwrap();
        drop(client);
        let mut over = world.read.over.subscribe();
        over.wait_for(|(begun, over)| begun == over).await.unwrap();
        assert_eq!(*world.read.bytes.borrow(), "", "{secure} {is_pooled}");
        let timelines = recorder.timelines();
        let attempts = timelines[usize::from(is_pooled)].attempts();
        assert!(!attempts[0].is_taken(), "{attempts:?}");
    }
}

#[tokio::test]
async fn http2_request_behind_the_stream_limit_never_reaches_the_wire() {
    let net = Net::new().await;
    let server = net.http2().await;
    server.on_connection([ConnFault::MaxStreams(1)]);
    let recorder = TimelineRecorder::new();
    let builder = net.builder().on_complete(recorder.listener());
    let builder = builder.transport(|transport| transport.max_connections(1));
    let client = builder.build().unwrap();
    let url = url(&server, "https");
    client.get(&url).fetch_bytes().await.unwrap();
    let gate = Gate::new();
    server.on_request([CannedResponse::json("1").hold(&gate).into()]);
    let held = client.get(&url).fetch_bytes();
    let held = tokio::spawn(held);
    server.wait_until(|stats| stats.requests == 2).await;
    // The caller drops the first request, at any moment.
    for polls in 1..12 {
        let post = client.post(&url).body("dropped");
        let call = GivenUp(Box::pin(post.send()), polls);
        let mut turns = 0;
        let soon = std::future::poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            if turns < 50 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        tokio::select! {
            ended = call => assert!(ended.is_none()),
            () = soon => {}
        }
    }
    // The second request reaches its deadline.
    let post = client.post(&url).body("late");
    let late = post
        .options(|options| options.deadline(Duration::from_millis(100)))
        .send()
        .await;
    let late = late.unwrap_err();
    assert_eq!(
        (late.hop(), late.kind(), late.effect()),
        (Some(Hop::Connect), Kind::ConnectionLimit, Effect::None),
        "{late}"
    );
    assert_eq!(late.blame(), Blame::Client, "{late}");
    gate.open();
    held.await.unwrap().unwrap();
    let last = client.post(&url).body("last").fetch_bytes();
    last.await.unwrap();
    let seen = server.requests();
    let bodies: Vec<_> = seen.iter().map(|seen| &seen.body[..]).collect();
    assert_eq!(bodies, [&b""[..], b"", b"last"]);
    let taken = recorder.timelines();
    let taken = taken.iter().flat_map(|timeline| timeline.attempts());
    assert_eq!(taken.filter(|attempt| attempt.is_taken()).count(), 3);
    assert_eq!(server.connections(), 1);
}
