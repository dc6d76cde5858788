//! One query to one server, over UDP and TCP.
//!
//! Each query has its own socket. So its port cannot be guessed, and no socket is shared between runtimes.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::error::{DnsErrorReason, LookupFailure};
use crate::clock;

/// Sends a query in a datagram, and sends it again until a response comes. After a truncated response, sends it over
/// TCP.
///
/// It does not end by itself while the server is silent.
pub(crate) async fn over_udp(
    server: SocketAddr,
    query: &Message,
) -> Result<Message, LookupFailure> {
    let bytes = encode(query)?;
    let received = datagram(server, &bytes).await.map_err(unreachable)?;
    // Before it is decoded: a server may cut the response inside a record (RFC 2181 §9).
    match is_truncated(&received) {
        true => over_tcp(server, query).await,
        false => decode(&received, query),
    }
}

/// Sends a query over a connection, and closes it after the response.
pub(crate) async fn over_tcp(
    server: SocketAddr,
    query: &Message,
) -> Result<Message, LookupFailure> {
    let bytes = encode(query)?;
    let received = stream(server, &bytes).await.map_err(unreachable)?;
    decode(&received, query)
}

async fn datagram(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // The kernel then drops datagrams from other senders, and reports a closed port.
    socket.connect(server).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        socket.send(query).await?;
        let received = receive(&socket, &mut buffer, query, clock::now() + RESEND);
        if let Some(length) = received.await? {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

/// Waits for the datagram with the query's id. Any other datagram belongs to an earlier query or is forged.
async fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    query: &[u8],
    until: Instant,
) -> io::Result<Option<usize>> {
    loop {
        match timeout_at(until, socket.recv(buffer)).await {
            Err(_) => return Ok(None),
            Ok(length) => {
                let length = length?;
                if length >= ID && buffer[..ID] == query[..ID] {
                    return Ok(Some(length));
                }
            }
        }
    }
}

/// Sends a query over TCP. A message has its length in front of it (RFC 1035 §4.2.2).
async fn stream(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    // One write: some servers treat the length alone as a broken query.
    let framed = [&length.to_be_bytes()[..], query].concat();
    stream.write_all(&framed).await?;
    let mut response = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut response).await?;
    Ok(response)
}

fn encode(query: &Message) -> Result<Vec<u8>, LookupFailure> {
    query.to_vec().map_err(garbled)
}

fn decode(bytes: &[u8], query: &Message) -> Result<Message, LookupFailure> {
    let response = Message::from_vec(bytes).map_err(garbled)?;
    let metadata = &response.metadata;
    if metadata.message_type != MessageType::Response || metadata.id != query.metadata.id {
        return Err(garbled(NotAResponse));
    }
    Ok(response)
}

/// Returns whether the header says that the response was truncated (RFC 1035 §4.1.1).
fn is_truncated(message: &[u8]) -> bool {
    message.len() >= HEADER && message[ID] & (RESPONSE | TRUNCATED) == RESPONSE | TRUNCATED
}

fn garbled(cause: impl std::error::Error + Send + Sync + 'static) -> LookupFailure {
    LookupFailure::because(DnsErrorReason::Protocol, cause)
}

pub(crate) fn unreachable(cause: io::Error) -> LookupFailure {
    LookupFailure::because(DnsErrorReason::Unreachable, cause)
}

/// A message that is not a response to the query.
#[derive(Debug)]
struct NotAResponse;

impl std::fmt::Display for NotAResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the message is not a response to the query")
    }
}

impl std::error::Error for NotAResponse {}

/// The wait for a datagram before the query is sent again.
const RESEND: Duration = Duration::from_millis(333);
/// Far more than queries permit (1,232 bytes).
const DATAGRAM: usize = 4_096;
/// The length of the id at the beginning of a message.
const ID: usize = 2;
/// The length of the header of a message.
const HEADER: usize = 12;
/// The flags in the byte after the id.
const RESPONSE: u8 = 0x80;
const TRUNCATED: u8 = 0x02;

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(NotAResponse: super::NotAResponse);
}
