//! Faults on real sockets: for this crate's tests, and for yours.
//!
//! # Example
//!
//! A service that takes the request and closes without a byte, then recovers:
//!
//! ```
//! use sevenhops::testing::{FaultServer, Reply};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::TcpStream;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let server = FaultServer::builder().start().await?;
//! server.on_request([Reply::CloseAfterRequest]);
//!
//! async fn call(server: &FaultServer) -> std::io::Result<String> {
//!     let mut client = TcpStream::connect(server.addr()).await?;
//!     let request = b"GET /v1/charges HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
//!     client.write_all(request).await?;
//!     let mut answer = String::new();
//!     client.read_to_string(&mut answer).await?;
//!     Ok(answer)
//! }
//!
//! assert_eq!(call(&server).await?, "");
//! assert!(call(&server).await?.ends_with(r#"{"ok":true}"#));
//! assert_eq!(server.requests_seen(), 2);
//! assert_eq!(server.requests()[0].path(), "/v1/charges");
//! # Ok(())
//! # }
//! ```
//!
//! # What it protects from
//!
//! Failures that a mock inside the process cannot show: a reset that overtakes an answer, a
//! handshake that hangs, a stream refused while its neighbours go on. What a client makes of them is
//! only known once they have happened to it on a socket.
//!
//! | what misbehaves | with what |
//! |---|---|
//! | a port that refuses | [`ClosedPort`] |
//! | a port that swallows SYNs | [`BlackHole`] |
//! | certificates, client certificates | [`Authority`], [`Identity`] |
//! | a connection: silence, RST, TLS faults | [`FaultServer::on_connection`] with [`ConnFault`] |
//! | a request: silence, RST, garbage, HTTP/2 faults | [`FaultServer::on_request`] with [`Reply`] |
//! | an answer kept back | [`Gate`] |
//! | a proxy | [`ProxyServer`] |
//!
//! # Defaults
//!
//! Plain HTTP/1.1 on a free port of 127.0.0.1; every request gets a 200 with `{"ok":true}`.
//!
//! # What it reports
//!
//! Requests as they were seen ([`FaultServer::requests`]), and counts to wait on
//! ([`FaultServer::wait_until`]), so that no test has to sleep.
//!
//! # Trade-offs
//!
//! Everything happens on loopback sockets in real time, which costs the length of every limit that is
//! to run out: some tens of milliseconds are plenty. [`BlackHole`] works on Linux only.
//!
//! # How people get it wrong
//!
//! A paused clock: tokio moves it on whenever the runtime is idle, and waiting for a socket is idle, so
//! that every limit runs out at once. And sleeping "until the server has it": wait for the count.

mod authority;
mod black_hole;
mod closed_port;
mod dns;
mod gate;
mod proxy;
mod server;
mod socks;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

pub use self::authority::{Authority, Identity};
pub use self::black_hole::BlackHole;
pub use self::closed_port::ClosedPort;
pub use self::dns::{Query, RecordType, Script, ScriptedDns, Soa, Transport};
pub use self::gate::Gate;
pub use self::proxy::{ProxyServer, ProxyServerBuilder};
pub use self::server::{Answer, ConnFault, FaultServer, FaultServerBuilder, Reply, Seen, Stats};

fn socket_for(addr: SocketAddr) -> io::Result<TcpSocket> {
    match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}
