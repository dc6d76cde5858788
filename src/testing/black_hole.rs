//! A port that drops every attempt to connect.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A loopback port at which a connect neither succeeds nor fails.
///
/// It listens with an empty backlog and fills the backlog itself. The kernel then drops all later SYNs. It works on
/// Linux only: on other systems a full backlog may refuse.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::testing::BlackHole;
/// use tokio::net::TcpStream;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let hole = BlackHole::start().await?;
///
/// let connect = TcpStream::connect(hole.addr());
/// assert!(tokio::time::timeout(Duration::from_millis(50), connect).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BlackHole {
    addr: SocketAddr,
    _listener: TcpListener,
    _fillers: JoinSet<()>,
}

impl BlackHole {
    /// Opens a black hole at a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Fails if no port is free, or if the port keeps accepting connections.
    pub async fn start() -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Opens a black hole at `addr`.
    ///
    /// # Errors
    ///
    /// Fails if the address is in use, or if the port keeps accepting connections.
    pub async fn start_at(addr: SocketAddr) -> io::Result<Self> {
        let socket = super::socket_for(addr)?;
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let listener = socket.listen(0)?;
        let addr = listener.local_addr()?;
        let mut fillers = JoinSet::new();
        for _ in 0..MOST_FILLERS {
            if !fill(&mut fillers, addr).await {
                return Ok(Self {
                    addr,
                    _listener: listener,
                    _fillers: fillers,
                });
            }
        }
        Err(io::Error::other("a full backlog still takes connections"))
    }

    /// Returns the address that drops all connects.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Starts a connection and returns whether it was accepted. A connection that was not accepted keeps trying, so that it
/// fills the backlog if it was only slow.
async fn fill(fillers: &mut JoinSet<()>, addr: SocketAddr) -> bool {
    let (taken, told) = oneshot::channel();
    fillers.spawn(async move {
        let connected = TcpStream::connect(addr).await;
        let _ = taken.send(());
        std::future::pending::<()>().await;
        drop(connected);
    });
    timeout(SWALLOWED_AFTER, told).await.is_ok()
}

/// Linux accepts one more connection than the backlog allows, or two if handshakes overlap.
const MOST_FILLERS: usize = 8;

/// A loopback handshake takes microseconds. A dropped SYN is sent again only after a second.
const SWALLOWED_AFTER: Duration = Duration::from_millis(50);
