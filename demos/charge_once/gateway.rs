//! A gateway between the client and the service. If its connection to the service breaks, it sends the request a second
//! time, even if the first copy was processed.
//!
//! RFC 9110 §9.2.2 forbids this for a POST. Gateways do it nevertheless, and the client cannot see it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::server::{PATIENCE, measure};

pub(crate) struct Gateway {
    address: SocketAddr,
    counts: Arc<Counts>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

/// The counts of the gateway.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU32,
    /// Requests whose first copy ended with a broken connection.
    pub(crate) sent_again: AtomicU32,
    /// Requests that got a 502 because both connections broke.
    pub(crate) bad_gateway: AtomicU32,
    /// Requests that got a 504.
    pub(crate) timed_out: AtomicU32,
}

impl Gateway {
    pub(crate) async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(listen(listener, (upstream, Arc::clone(&counts)), stopped));
        Ok(Self {
            address,
            counts,
            stop,
            task,
        })
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops when the last client has left.
    pub(crate) async fn close(self) -> Result<Arc<Counts>> {
        let _ = self.stop.send(());
        timeout(PATIENCE, self.task)
            .await
            .map_err(|_| "a connection of the client is still open")???;
        Ok(self.counts)
    }
}

type Upstream = (SocketAddr, Arc<Counts>);

async fn listen(
    listener: TcpListener,
    upstream: Upstream,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                connections.spawn(relay(accepted?.0, upstream.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Relays one request after another. Fails when the client has left.
async fn relay(mut client: TcpStream, (upstream, counts): Upstream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut unread = BytesMut::new();
    while let Some(request) = message(&mut client, &mut unread).await? {
        counts.requests.fetch_add(1, Ordering::Relaxed);
        let response = match timeout(TIMEOUT, exchange(upstream, &request, &counts)).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => {
                counts.bad_gateway.fetch_add(1, Ordering::Relaxed);
                Bytes::from_static(BAD_GATEWAY)
            }
            Err(_) => {
                counts.timed_out.fetch_add(1, Ordering::Relaxed);
                Bytes::from_static(GATEWAY_TIMEOUT)
            }
        };
        client.write_all(&response).await?;
    }
    Ok(())
}

/// Sends the request, and a second copy of it if the connection breaks.
async fn exchange(upstream: SocketAddr, request: &[u8], counts: &Counts) -> io::Result<Bytes> {
    if let Ok(response) = send(upstream, request).await {
        return Ok(response);
    }
    counts.sent_again.fetch_add(1, Ordering::Relaxed);
    send(upstream, request).await
}

async fn send(upstream: SocketAddr, request: &[u8]) -> io::Result<Bytes> {
    let mut service = connect(upstream).await;
    service.set_nodelay(true)?;
    service.write_all(request).await?;
    let response = message(&mut service, &mut BytesMut::new()).await?;
    response.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Connects as soon as the service listens. Nothing was sent, so it does no harm to try again.
async fn connect(upstream: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(upstream).await {
            Ok(service) => return service,
            Err(_) => sleep(CONNECT_AGAIN).await,
        }
    }
}

/// Reads the next message whole; `None` if the connection ends before it.
async fn message(from: &mut TcpStream, unread: &mut BytesMut) -> io::Result<Option<Bytes>> {
    loop {
        if let Some((_, body)) = measure(unread) {
            return Ok(Some(unread.split_to(body.end).freeze()));
        }
        if from.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
}

/// Shorter than the client waits for one attempt, so the client gets the 504.
const TIMEOUT: Duration = Duration::from_millis(300);
const CONNECT_AGAIN: Duration = Duration::from_millis(5);
const BAD_GATEWAY: &[u8] = b"HTTP/1.1 502 -\r\ncontent-length: 0\r\n\r\n";
const GATEWAY_TIMEOUT: &[u8] = b"HTTP/1.1 504 -\r\ncontent-length: 0\r\n\r\n";
