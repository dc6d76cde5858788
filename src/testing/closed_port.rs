//! A port that refuses.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A loopback port that refuses every connection for as long as this value lives.
///
/// The port is bound but never listened on, so that no other test can be given it meanwhile.
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
    /// Takes a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Fails when no port is free.
    pub fn new() -> io::Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Takes the port at `addr`: the same port as a server's on another loopback host, say.
    ///
    /// # Errors
    ///
    /// Fails when the address is taken.
    pub fn at(addr: SocketAddr) -> io::Result<Self> {
        let bound = super::socket_for(addr)?;
        bound.bind(addr)?;
        Ok(Self {
            addr: bound.local_addr()?,
            _bound: bound,
        })
    }

    /// Returns the address that refuses.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
