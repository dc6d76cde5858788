//! A port that swallows every attempt to connect.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A loopback port at which connecting neither works nor fails.
///
/// It listens with an empty backlog that it fills itself; the kernel drops the SYNs that come
/// after. Linux only: elsewhere a full backlog may refuse.
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
    /// Opens a hole at a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Fails when no port is free, or when the port keeps taking connections.
    pub async fn start() -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Opens a hole at `addr`.
    ///
    /// # Errors
    ///
    /// Fails when the address is taken, or when the port keeps taking connections.
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

    /// Returns the address that swallows.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Sends one connection in and says whether it was taken. One that was not keeps trying, so that
/// it fills the place if it was merely slow.
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

/// Linux takes one more connection than the backlog says, two when handshakes overlap.
const MOST_FILLERS: usize = 8;

/// A loopback handshake takes microseconds; a dropped SYN is not sent again for a second.
const SWALLOWED_AFTER: Duration = Duration::from_millis(50);
