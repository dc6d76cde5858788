//! F35: the network path of an established connection drops all packets. The packets are real, in network namespaces of
//! the test. Another test uses a middlebox that still acknowledges.

#[cfg(test)]
#[cfg(target_os = "linux")]
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sevenhops::dns::StaticResolver;
use sevenhops::testing::{FaultServer, Gate, Reply, TestCa};
use sevenhops::{Client, Effect, Error, Hop, Kind};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::partition::{Partition, SERVER};

/// A client and a server with a network path between them.
struct Path {
    partition: Arc<Partition>,
    server: FaultServer,
    client: Client,
    url: String,
}

impl Path {
    /// Returns `None` if no network can be created. The reason is printed past the capture of the test's output.
    fn new(http2: bool) -> Option<Self> {
        let mut partition = match Partition::new() {
            Ok(partition) => partition,
            Err(reason) => {
                let line = format!("SKIPPED: F35, a dark path: {reason}\n");
                let _ = std::io::stderr().write_all(line.as_bytes());
                return None;
            }
        };
        let authority = TestCa::new().unwrap();
        let identity = authority.issue(&["api.test"]).unwrap();
        let mut server = FaultServer::builder().tls(identity);
        if http2 {
            server = server.http2();
        }
        let server = partition.serve(server);
        let client = Client::builder(DEADLINE)
            .transport(|transport| {
                transport
                    .tls(authority.client_config())
                    .resolver(StaticResolver::new().host("api.test", [SERVER.into()]))
            })
            .build()
            .unwrap();
        Some(Self {
            partition: Arc::new(partition),
            url: format!("https://api.test:{}/v1/charges", server.addr().port()),
            server,
            client,
        })
    }

    async fn good(&self) -> bool {
        let response = self.client.get(&self.url).send().await.unwrap();
        let timeline = response.timeline().cloned().unwrap();
        response.bytes().await.unwrap();
        timeline.attempts()[0].is_reused()
    }

    async fn charge(&self) -> Error {
        let charging = self.client.post(&self.url).body("amount=100");
        charging.send().await.unwrap_err()
    }
}

/// Checks the error. Its kind proves the order of events: after the first-byte timeout the service would be blamed. How
/// long the kernel takes depends on the round trips that it measured, and so on the load of the machine.
fn check(error: &Error) {
    let timeline = error.timeline().unwrap();
    let named = (error.hop(), error.kind(), error.effect());
    let expected = (Some(Hop::Send), Kind::Unacknowledged, Effect::Possible);
    assert_eq!(named, expected, "{error:?}\n{timeline}");
    assert_eq!(timeline.attempt_count(), 1, "{timeline}");
    let peer = timeline.attempts()[0].peer_addr();
    assert!(peer.is_some(), "{timeline}");
}

/// The path fails during the wait for the response, while the client sends nothing.
fn fresh(http2: bool) {
    let Some(path) = Path::new(http2) else { return };
    path.server.on_request([Reply::Silent]);
    let partition = Arc::clone(&path.partition);
    partition.call(async move {
        let dark = async {
            path.server.wait_until(|stats| stats.requests == 1).await;
            path.partition.go_dark();
        };
        let (error, ()) = tokio::join!(path.charge(), dark);
        check(&error);
        path.partition.heal();
        assert!(!path.good().await, "the dark connection was used again");
    });
}

/// The path fails under an idle connection that takes the next request.
fn pooled(http2: bool) {
    let Some(path) = Path::new(http2) else { return };
    let partition = Arc::clone(&path.partition);
    partition.call(async move {
        path.good().await;
        path.partition.go_dark();
        let error = path.charge().await;
        check(&error);
        assert!(error.timeline().unwrap().attempts()[0].is_reused());
        path.partition.heal();
        assert!(!path.good().await, "the dark connection was used again");
        assert_eq!(path.server.requests_seen(), 2, "the charge never arrived");
    });
}

/// The path fails while a large body is sent. The kernel's timeout is shorter than the send timeout of an attempt
/// that none may follow. It names the same hop.
#[test]
fn upload_on_a_dark_path_fails_at_send() {
    let Some(path) = Path::new(false) else { return };
    let partition = Arc::clone(&path.partition);
    partition.call(async move {
        path.good().await;
        path.partition.go_dark();
        let body = vec![b' '; 10 << 20];
        let error = path.client.post(&path.url).body(body).send().await;
        let error = error.unwrap_err();
        let named = (error.hop(), error.kind(), error.effect());
        let expected = (Some(Hop::Send), Kind::Unacknowledged, Effect::Possible);
        assert_eq!(named, expected, "{}", error.timeline().unwrap());
        path.partition.heal();
        assert!(!path.good().await, "the dark connection was used again");
    });
}

#[test]
fn http1_on_a_new_connection() {
    fresh(false);
}

#[test]
fn http2_on_a_new_connection() {
    fresh(true);
}

#[test]
fn http1_on_a_pooled_connection() {
    pooled(false);
}

#[test]
fn http2_on_a_pooled_connection() {
    pooled(true);
}

/// Forwards bytes in both directions. On the first connection it stops when the gate opens, and reports nothing.
async fn relay(listener: TcpListener, to: SocketAddr, gate: Gate) {
    let mut relayed = JoinSet::new();
    let mut until = Some(gate);
    while let Ok((mut near, _)) = listener.accept().await {
        let until = until.take();
        relayed.spawn(async move {
            let mut far = TcpStream::connect(to).await.unwrap();
            let dark = async {
                match until {
                    Some(gate) => gate.opened().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                () = dark => std::future::pending().await,
            }
        });
    }
}

/// A middlebox acknowledges for a peer that it has lost. The kernel cannot notice that, but HTTP/2 PINGs can.
#[tokio::test]
async fn middlebox_that_lost_its_peer_is_detected_by_pings() {
    let authority = TestCa::new().unwrap();
    let identity = authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).http2();
    let server = server.start().await.unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let near = listener.local_addr().unwrap();
    let gate = Gate::new();
    let _relay = tokio::spawn(relay(listener, server.addr(), gate.clone()));
    let client = Client::builder(DEADLINE)
        .transport(|transport| {
            transport
                .tls(authority.client_config())
                .resolver(StaticResolver::new().host("api.test", [near.ip()]))
        })
        .build()
        .unwrap();
    let url = format!("https://api.test:{}/v1/charges", near.port());
    server.on_request([Reply::Silent]);
    let lose = async {
        server.wait_until(|stats| stats.requests == 1).await;
        gate.open();
    };
    let charging = client.post(&url).body("amount=100").send();
    let (charged, ()) = tokio::join!(charging, lose);
    check(&charged.unwrap_err());
    let next = client.get(&url).send().await.unwrap();
    assert!(!next.timeline().unwrap().attempts()[0].is_reused());
}

#[test]
fn host_that_lost_its_power_is_a_dark_path_too() {
    let Some(path) = Path::new(false) else { return };
    let partition = Arc::clone(&path.partition);
    partition.call(async move {
        path.good().await;
        path.partition.unplug();
        check(&path.charge().await);
    });
}

const DEADLINE: Duration = Duration::from_secs(10);
