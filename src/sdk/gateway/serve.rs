//! The listener of a gateway and its connections.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::exchange::Exchange;

/// Accepts connections until the future is dropped. All connections end with it.
pub(super) async fn serve(listener: TcpListener, exchange: Arc<Exchange>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&exchange)));
                }
                // The process has no free descriptor, or the connection has gone already.
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

/// Serves one connection until one side closes it.
async fn connection(stream: TcpStream, exchange: Arc<Exchange>) {
    // Without it, the end of a response could wait for an acknowledgment.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        async move { Ok::<_, Infallible>(exchange.answer(request).await) }
    });
    // The SDK sees that its connection has ended. A failed body has failed the call already.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// More calls than one process has in flight to one vendor.
const MOST_CONNECTIONS: usize = 1_024;
/// Longer than the idle timeouts of clients' pools (90 s is common). If the gateway closed an idle connection first, a
/// request could be lost.
const IDLE: Duration = Duration::from_secs(300);
/// Descriptors become free when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
