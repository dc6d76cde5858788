//! A test kit for faults, for this crate's tests and for yours.
//!
//! The [`guide`] shows three complete tests.
//!
//! # Example
//!
//! A service that receives a charge and closes the connection without a response:
//!
//! ```
//! use std::time::Duration;
//! use sevenhops::testing::{FaultServer, Reply};
//! use sevenhops::{Client, assert_effect, assert_hop};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = FaultServer::start().await?;
//! let client = Client::builder(Duration::from_secs(10)).build()?;
//!
//! server.on_request([Reply::CloseAfterRequest]);
//! let error = client.post(server.url("/v1/charges")).send().await.unwrap_err();
//! assert_hop!(error, Server, Closed);
//! assert_effect!(error, Possible);
//! assert_eq!(server.requests_seen(), 1); // not sent again: it may have happened
//! assert_eq!(server.requests()[0].path(), "/v1/charges");
//! # Ok(())
//! # }
//! ```
//!
//! # Protects from
//!
//! Failures that a mock inside the process cannot show. Examples are a reset that overtakes a response, a handshake
//! that hangs, or one refused HTTP/2 stream of several. Only a socket shows how a client reacts to them.
//!
//! | the failing part | the tool |
//! |---|---|
//! | a port that refuses | [`ClosedPort`] |
//! | a port that drops SYNs | [`BlackHole`] |
//! | certificates, client certificates | [`TestCa`], [`Identity`] |
//! | a name: none, moved, silent, truncated | [`ScriptedDns`] with [`DnsScript`] |
//! | a connection: silence, RST, TLS faults | [`FaultServer::on_connection`] with [`ConnFault`] |
//! | a request: silence, RST, garbage, HTTP/2 faults | [`FaultServer::on_request`] with [`Reply`] |
//! | a mocked service (`wiremock`) behind such a network | [`FaultServerBuilder::upstream`] |
//! | a response that is held back | [`Gate`] |
//! | a proxy | [`ProxyServer`] |
//! | a network without sockets, on a paused clock | [`ChaosLayer`](crate::chaos::ChaosLayer) |
//!
//! # Defaults
//!
//! The server speaks plain HTTP/1.1 on a free port of 127.0.0.1. Every request gets a 200 with `{"ok":true}`.
//!
//! # Reports
//!
//! The server records requests ([`FaultServer::requests`]) and counts events to wait for ([`FaultServer::wait_until`]),
//! so no test has to sleep. A [`TimelineRecorder`] keeps the timelines of calls. [`assert_hop!`](crate::assert_hop) and
//! [`assert_effect!`](crate::assert_effect) check errors.
//!
//! # Trade-offs
//!
//! Everything on sockets happens on loopback in real time, so a test takes as long as each timeout that has to expire.
//! Some tens of milliseconds are enough. [`BlackHole`] works on Linux only. An invalid header panics where it is set
//! ([`CannedResponse::header`]). Nothing else panics.
//!
//! # How people get it wrong
//!
//! They use a paused clock with sockets. tokio advances it whenever the runtime is idle, and a runtime that waits for a
//! socket is idle, so every timeout expires at once. Or they sleep "until the server has it": wait for the count
//! instead.

mod assertions;
mod black_hole;
mod closed_port;
mod dns;
mod gate;
mod test_ca;
#[doc = include_str!("../../docs/testing.md")]
pub mod guide {}
mod proxy;
mod recorder;
mod server;
mod socks;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

#[doc(hidden)]
pub use self::assertions::{Suspect, check_effect, check_hop};
pub use self::black_hole::BlackHole;
pub use self::closed_port::ClosedPort;
pub use self::dns::{DnsQuery, DnsScript, QueryTransport, RecordType, ScriptedDns, Soa};
pub use self::gate::Gate;
pub use self::proxy::{ProxyServer, ProxyServerBuilder};
pub use self::recorder::TimelineRecorder;
pub use self::server::{
    CannedResponse, ConnFault, FaultServer, FaultServerBuilder, RecordedRequest, Reply, ServerStats,
};
pub use self::test_ca::{Identity, TestCa};

fn socket_for(addr: SocketAddr) -> io::Result<TcpSocket> {
    match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}
