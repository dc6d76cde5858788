//! Both ends of a connection over loopback, for the tests of the protocols.

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use super::exchange::SendBody;
use super::life::Made;
use super::socket::Socket;
use crate::clock;
use crate::hop::TlsSession;
use crate::record::Tracker;
use crate::telemetry::AttemptSpans;
use crate::timeout::Timeouts;

/// A connection between a client and a server.
pub(super) struct Pair {
    pub(super) socket: Socket,
    pub(super) server: TcpStream,
    /// A second handle to the client's end.
    client: std::net::TcpStream,
}

impl Pair {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let client = client.await.unwrap().into_std().unwrap();
        let again = client.try_clone().unwrap();
        let (server, _) = listener.accept().await.unwrap();
        Self {
            socket: Socket::new(TcpStream::from_std(client).unwrap()).unwrap(),
            server,
            client: again,
        }
    }

    /// Makes every later write of the client fail, so that no byte goes out.
    pub(super) fn refuse_writes(&self) {
        SockRef::from(&self.client)
            .shutdown(Shutdown::Write)
            .unwrap();
    }

    pub(super) fn made(&self, tls: Option<&'static str>) -> Made {
        Made {
            socket: self.socket.clone(),
            tls: tls.map(|version| TlsSession {
                version,
                alpn: None,
                is_resumed: None,
            }),
            tickets: None,
            link: None,
            idle_timeout: IDLE_LIMIT,
        }
    }
}

/// Returns the record of an attempt that has its connection.
pub(super) fn tracker() -> Arc<Tracker> {
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    let tracker = Tracker::new(timeouts, AttemptSpans::default(), clock::now());
    tracker.begin();
    tracker.pooled();
    Arc::new(tracker)
}

/// Returns a POST of two bytes.
pub(super) fn post(uri: &str) -> Request<SendBody> {
    let body = Full::new(Bytes::from_static(b"10")).map_err(|never| match never {});
    let body: SendBody = Box::pin(body);
    Request::post(uri).body(body).unwrap()
}

/// Lets the tasks of the connections run.
pub(super) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(50);

crate::messages_tests::list!(GivenUp: super::lane::GivenUp);
