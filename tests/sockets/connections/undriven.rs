//! Tests the connections of a runtime that is not driven between two calls. Their tasks do not notice meanwhile that a
//! connection has ended.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use h2::Reason;
use sevenhops::Client;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};
use tokio::time::{advance, resume};
use tokio_rustls::TlsAcceptor;

use super::raw::{ACK, END_STREAM, Frozen, PING, Peer, frame, go_away, head, serve};
use crate::net::Net;

/// The frames that a server writes on a stream, or after its response.
type Frames = fn(u32) -> Vec<Vec<u8>>;

/// A stream with or without TLS.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A server in a runtime of its own.
struct Server {
    url: String,
    next: Arc<Notify>,
    is_written: mpsc::Receiver<()>,
    _alive: oneshot::Sender<()>,
}

impl Server {
    /// Starts a server without TLS. Its first connection ends when the test says so: the server writes `last`, and then
    /// closes it if `closes`.
    fn start(respond: Frames, last: (Frames, bool)) -> Self {
        Self::over(None, respond, last)
    }

    /// Starts a server, which speaks TLS if there is an acceptor.
    fn over(tls: Option<TlsAcceptor>, respond: Frames, (last, closes): (Frames, bool)) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let next = Arc::new(Notify::new());
        let (written, is_written) = mpsc::channel();
        let (found, address) = mpsc::channel();
        let (alive, is_over) = oneshot::channel();
        let ends = Arc::clone(&next);
        std::thread::spawn(move || {
            runtime().block_on(async move {
                let address = serve(move |stream, number| {
                    let (ends, written, tls) = (Arc::clone(&ends), written.clone(), tls.clone());
                    async move {
                        let stream: Box<dyn Duplex> = match tls {
                            Some(tls) => Box::new(tls.accept(stream).await?),
                            None => Box::new(stream),
                        };
                        let mut peer = Peer::accept(stream, 100).await?;
                        if number > 1 {
                            loop {
                                let stream = peer.request().await?;
                                peer.write(&no_content(stream)).await?;
                            }
                        }
                        let mut stream = 0;
                        loop {
                            tokio::select! {
                                asked = peer.request() => stream = asked?,
                                () = ends.notified() => break,
                            }
                            peer.write(&respond(stream)).await?;
                        }
                        peer.write(&last(stream)).await?;
                        peer.stream.flush().await?;
                        if closes {
                            peer.stream.shutdown().await?;
                        }
                        written.send(()).unwrap();
                        loop {
                            let stream = peer.request().await?;
                            peer.write(&no_content(stream)).await?;
                        }
                    }
                })
                .await;
                found.send(address).unwrap();
                let _ = is_over.await;
            });
        });
        Self {
            url: format!("{scheme}://{}/", address.recv().unwrap()),
            next,
            is_written,
            _alive: alive,
        }
    }

    /// Lets the server end its first connection. No task of this thread's runtime runs meanwhile.
    fn end(&self) {
        self.next.notify_one();
        self.is_written.recv().unwrap();
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn no_content(stream: u32) -> Vec<Vec<u8>> {
    vec![head(stream, 204, None, END_STREAM)]
}

fn client_of(net: &Net, idle_timeout: Duration) -> Client {
    let builder = net.builder().transport(|transport| {
        transport
            .http2_prior_knowledge(true)
            .idle_timeout(idle_timeout)
    });
    builder.build().unwrap()
}

/// Sends a POST. Returns whether its connection was reused.
async fn post(client: &Client, url: &str) -> bool {
    let post = client
        .post(url)
        .options(|options| options.retry(false))
        .body("10");
    let response = post.send().await.unwrap();
    let timeline = response.timeline().cloned().unwrap();
    response.bytes().await.unwrap();
    timeline.attempts()[0].is_reused()
}

#[test]
fn idle_http2_connection_that_has_ended_is_not_used_again() {
    let nothing: Frames = |_| Vec::new();
    let goes_away: Frames = |stream| vec![go_away(stream, Reason::NO_ERROR)];
    let pongs: Frames = |_| vec![frame(PING, ACK, 0, &[0; 8])];
    for (last, closes, is_reused) in [
        (nothing, true, false),
        (goes_away, true, false),
        (goes_away, false, false),
        // Its task reads these bytes first, and the connection is as good as before.
        (pongs, false, true),
    ] {
        let server = Server::start(no_content, (last, closes));
        let runtime = runtime();
        let client =
            runtime.block_on(async { client_of(&Net::new().await, Duration::from_secs(60)) });
        assert!(!runtime.block_on(post(&client, &server.url)));
        server.end();
        let seen = runtime.block_on(post(&client, &server.url));
        assert_eq!(seen, is_reused, "{:?}, closed: {closes}", last(1));
    }
}

#[test]
fn http2_connection_is_not_used_beyond_its_idle_timeout() {
    let server = Server::start(no_content, (no_content, false));
    let runtime = runtime();
    let client = runtime.block_on(async { client_of(&Net::new().await, Duration::from_secs(5)) });
    runtime.block_on(async {
        assert!(!post(&client, &server.url).await);
        assert!(post(&client, &server.url).await);
        let frozen = Frozen::now();
        for (millis, is_reused) in [(4_900, true), (4_900, true), (5_100, false)] {
            // The first poll moves the clock, and no task runs.
            let advancing = pin!(advance(Duration::from_millis(millis)));
            let _ = advancing.poll(&mut Context::from_waker(Waker::noop()));
            let seen = post(&client, &server.url).await;
            assert_eq!(seen, is_reused, "after {millis} ms");
        }
        drop(frozen);
        resume();
    });
}

#[test]
fn unsent_http2_request_is_passed_to_the_next_connection() {
    for is_secure in [false, true] {
        let runtime = runtime();
        let net = runtime.block_on(Net::new());
        let identity = net.authority.issue(&["127.0.0.1"]).unwrap();
        let tls = is_secure.then(|| TlsAcceptor::from(identity.server_config(&[b"h2"])));
        // The first response does not end, so the connection is in use when it ends.
        let respond: Frames = |stream| vec![head(stream, 200, None, 0)];
        let server = Server::over(tls, respond, (|_| Vec::new(), true));
        let client = client_of(&net, Duration::from_secs(60));
        let held = runtime.block_on(client.get(&server.url).send()).unwrap();
        server.end();
        let get = client
            .get(&server.url)
            .options(|options| options.retry(false));
        let response = runtime.block_on(async {
            // From now on the runtime knows of the end, and the connection's task is the next one to run.
            tokio::task::yield_now().await;
            get.send().await.unwrap()
        });
        assert_eq!(response.status(), 204);
        let timeline = response.timeline().unwrap();
        assert_eq!(timeline.attempt_count(), 1, "{timeline}");
        assert!(!timeline.attempts()[0].is_reused(), "{timeline}");
        runtime.block_on(held.bytes()).unwrap_err();
    }
}
