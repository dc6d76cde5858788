//! A payments service in two regions with one ledger: a charge, and the response to it, by idempotency key.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// The charges of both regions.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    /// The order that each key has charged.
    keys: HashMap<String, String>,
    charges: HashMap<String, u32>,
}

impl Ledger {
    /// Charges an order, unless its key has done so.
    fn charge(&self, key: String, order: String) {
        let mut books = self.books();
        if books.keys.insert(key, order.clone()).is_none() {
            *books.charges.entry(order).or_default() += 1;
        }
    }

    pub(crate) fn charges(&self, order: &str) -> u32 {
        self.books().charges.get(order).copied().unwrap_or_default()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A region: a port that serves while the region is up.
pub(crate) struct Region {
    pub(crate) address: SocketAddr,
    ledger: Ledger,
    served: Arc<Mutex<u32>>,
    task: JoinHandle<()>,
}

impl Region {
    pub(crate) async fn start(ledger: &Ledger) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (ledger, served) = (ledger.clone(), Arc::default());
        let task = tokio::spawn(serve(listener, ledger.clone(), Arc::clone(&served)));
        Ok(Self {
            address,
            ledger,
            served,
            task,
        })
    }

    /// Loses the region. Its port refuses, and its connections break in the middle of their requests.
    pub(crate) fn lose(&self) {
        self.task.abort();
    }

    pub(crate) async fn restore(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        let (ledger, served) = (self.ledger.clone(), Arc::clone(&self.served));
        self.task = tokio::spawn(serve(listener, ledger, served));
        Ok(())
    }

    pub(crate) fn served(&self) -> u32 {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(listener: TcpListener, ledger: Ledger, served: Arc<Mutex<u32>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (ledger, served) = (ledger.clone(), Arc::clone(&served));
        let service = service_fn(move |request| {
            *served.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            charge(request, ledger.clone())
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(connection);
    }
}

async fn charge(
    request: Request<Incoming>,
    ledger: Ledger,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let key = request.headers().get("idempotency-key");
    let key = key.and_then(|key| key.to_str().ok()).map(str::to_owned);
    let order = request.into_body().collect().await;
    let order = order.map(|order| String::from_utf8_lossy(&order.to_bytes()).into_owned());
    let mut response = Response::new(Full::default());
    match key.zip(order.ok()) {
        Some((key, order)) => ledger.charge(key, order),
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    sleep(WORK).await;
    Ok(response)
}

/// Between the charge and the response, so that a lost region loses responses.
const WORK: Duration = Duration::from_millis(20);
