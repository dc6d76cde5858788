//! The sockets of the DNS server.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::{DnsServerInner, QueryTransport, message};

/// Replies to datagrams until it is dropped.
pub(super) async fn udp(socket: UdpSocket, shared: Arc<DnsServerInner>) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        // An error belongs to an earlier datagram whose sender is gone.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(answer) = shared.answer(&buffer[..length], QueryTransport::Udp) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// Serves connections until it is dropped. It then drops the connections too.
pub(super) async fn tcp(listener: TcpListener, shared: Arc<DnsServerInner>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, Arc::clone(&shared)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves messages with a length prefix (RFC 1035 §4.2.2), until the client closes the connection.
async fn connection(mut stream: TcpStream, shared: Arc<DnsServerInner>) -> io::Result<()> {
    loop {
        let mut message = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut message).await?;
        let Some(answer) = shared.answer(&message, QueryTransport::Tcp) else {
            continue;
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        stream.write_all(&framed).await?;
    }
}

impl DnsServerInner {
    /// Returns the reply to a query. The query is recorded first, so every recorded query has arrived.
    fn answer(&self, bytes: &[u8], transport: QueryTransport) -> Option<Vec<u8>> {
        let incoming = message::read(bytes, transport)?;
        let query = incoming.query.clone();
        let reply = self.zone().reply(&query);
        self.queries.send_modify(|queries| queries.push(query));
        message::write(&incoming, &reply)
    }
}
