//! One of the six services: TLS on a loopback socket, with a simulated distance and a time to work.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sevenhops::testing::TestCa;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// A service. It listens until it is dropped.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    address: SocketAddr,
    desk: Arc<Desk>,
    listening: JoinHandle<()>,
}

struct Desk {
    takes: Duration,
    /// The time left, as each request said, in the order of arrival.
    told: Mutex<Vec<Option<Duration>>>,
}

impl Service {
    pub(crate) async fn start(
        (name, takes): (&'static str, Duration),
        authority: &TestCa,
    ) -> io::Result<Self> {
        let identity = authority.issue(&[&format!("{name}.test")])?;
        let acceptor = TlsAcceptor::from(identity.server_config(&[b"http/1.1"]));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let told = Mutex::default();
        let desk = Arc::new(Desk { takes, told });
        let listening = tokio::spawn(listen(listener, acceptor, Arc::clone(&desk)));
        Ok(Self {
            name,
            address,
            desk,
            listening,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}.test:{}/", self.name, self.address.port())
    }

    /// Returns the time left that each request named since the last call of this function.
    pub(crate) fn told(&self) -> Vec<Option<Duration>> {
        std::mem::take(
            &mut *self
                .desk
                .told
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, desk: Arc<Desk>) {
    while let Ok((tcp, _)) = listener.accept().await {
        tokio::spawn(attend(tcp, acceptor.clone(), Arc::clone(&desk)));
    }
}

/// Fails when the client has left.
async fn attend(tcp: TcpStream, acceptor: TlsAcceptor, desk: Arc<Desk>) -> io::Result<()> {
    // The handshake takes one round trip.
    sleep(ROUND_TRIP).await;
    let tls = acceptor.accept(tcp).await?;
    let service = service_fn(move |request| answer(Arc::clone(&desk), request));
    let connection = hyper::server::conn::http1::Builder::new();
    let served = connection.serve_connection(TokioIo::new(tls), service);
    served.await.map_err(io::Error::other)
}

async fn answer(
    desk: Arc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let told = time_left(request.headers());
    let told_so_far = || desk.told.lock().unwrap_or_else(PoisonError::into_inner);
    told_so_far().push(told);
    sleep(desk.takes).await;
    Ok(Response::new(Full::from("{}")))
}

/// The rest of the caller's deadline, as its header says.
pub(crate) fn time_left(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get("sevenhops-timeout-ms")?.to_str().ok()?;
    Some(Duration::from_millis(millis.parse().ok()?))
}

/// The distance of the services. Loopback has none, and a handshake on it takes almost no time.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(20);
