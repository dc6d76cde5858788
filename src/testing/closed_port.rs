//! A port that refuses connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A loopback port that refuses every connection for as long as this value lives.
///
/// The port is bound but does not listen, so no other test can get it meanwhile.
///
/// # Example
///
/// ```
/// use std::io::ErrorKind;
/// use sevenhops::testing::ClosedPort;
/// use tokio::net::TcpStream;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let port = ClosedPort::new()?;
///
/// let error = TcpStream::connect(port.addr()).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ClosedPort {
    addr: SocketAddr,
    _bound: TcpSocket,
}

impl ClosedPort {
    /// Reserves a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub fn new() -> io::Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Reserves the port at `addr`, for example the port of a server on another loopback host.
    ///
    /// # Errors
    ///
    /// Fails if the address is in use.
    pub fn at(addr: SocketAddr) -> io::Result<Self> {
        let bound = super::socket_for(addr)?;
        bound.bind(addr)?;
        Ok(Self {
            addr: bound.local_addr()?,
            _bound: bound,
        })
    }

    /// Returns the address that refuses connections.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
