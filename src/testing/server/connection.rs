//! One connection, from accept to its end.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::fault::ConnFault;
use super::ledger::{AcceptedConnection, Ledger};
use super::wire::{End, Stream, Wire};
use super::{http1, http2};

/// The state that all connections of a server share.
#[derive(Debug)]
pub(super) struct ServerState {
    pub(super) ledger: Arc<Ledger>,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) http2: bool,
    pub(super) upstream: Option<SocketAddr>,
}

/// Serves a connection until either side ends it.
pub(super) async fn attend(
    tcp: TcpStream,
    state: Arc<ServerState>,
    connection: AcceptedConnection,
) {
    let AcceptedConnection {
        ordinal,
        fault,
        mut closing,
        open,
    } = connection;
    let opened = tokio::select! {
        biased;
        _ = closing.changed() => return,
        opened = welcome(tcp, &state, fault) => opened,
    };
    let (stream, max_streams) = match opened {
        (stream, ControlFlow::Break(end)) => return stream.finish(end, open).await,
        (stream, ControlFlow::Continue(max_streams)) => (stream, max_streams),
    };
    let wire = Wire::new(stream);
    let served = async {
        if state.http2 {
            http2::serve(wire.clone(), Arc::clone(&state), (ordinal, max_streams)).await
        } else {
            http1::serve(wire.clone(), &state, ordinal).await
        }
    };
    let end = tokio::select! {
        biased;
        _ = closing.changed() => End::Close,
        end = served => end,
    };
    if let Some(stream) = wire.into_stream() {
        stream.finish(end, open).await;
    }
}

/// The result of [`welcome`]: an end, or a conversation with its bound on streams if there is one.
type Opened = (Stream, ControlFlow<End, Option<u32>>);

async fn welcome(tcp: TcpStream, state: &ServerState, fault: Option<ConnFault>) -> Opened {
    let mut stream = Stream::Plain(tcp);
    let end = match fault {
        Some(ConnFault::Silent) => {
            stream.drain().await;
            End::Gone
        }
        Some(ConnFault::PlainHttp) => retort(&mut stream, PLAIN_HTTP).await,
        Some(ConnFault::TlsAlert) => retort(&mut stream, HANDSHAKE_FAILURE).await,
        Some(ConnFault::CloseAtOnce) => End::Close,
        Some(ConnFault::ResetAtOnce) => End::Reset,
        Some(ConnFault::ResetOnFirstBytes) => match stream.read(&mut [0]).await {
            Ok(1..) => End::Reset,
            Ok(0) | Err(_) => End::Gone,
        },
        Some(ConnFault::WrongCertificate(identity)) => {
            let wrong = |tls: &Arc<ServerConfig>| identity.server_config(&alpn_of(tls));
            let tls = state.tls.as_ref().map(wrong);
            return shake_hands(stream, tls, state).await;
        }
        Some(ConnFault::CloseAfterHandshake) => {
            let (shaken, go_on) = shake_hands(stream, state.tls.clone(), state).await;
            stream = shaken;
            match go_on {
                ControlFlow::Break(end) => end,
                ControlFlow::Continue(_) => End::Close,
            }
        }
        Some(ConnFault::MaxStreams(most)) => {
            let (shaken, go_on) = shake_hands(stream, state.tls.clone(), state).await;
            return (shaken, go_on.map_continue(|_| Some(most)));
        }
        Some(ConnFault::Behave) | None => {
            return shake_hands(stream, state.tls.clone(), state).await;
        }
    };
    (stream, ControlFlow::Break(end))
}

async fn shake_hands(
    stream: Stream,
    tls: Option<Arc<ServerConfig>>,
    state: &ServerState,
) -> Opened {
    let (tcp, tls) = match (stream, tls) {
        (Stream::Plain(tcp), Some(tls)) => (tcp, tls),
        (stream, _) => return (stream, ControlFlow::Continue(None)),
    };
    match TlsAcceptor::from(tls).accept(tcp).into_fallible().await {
        Ok(tls) => {
            state.ledger.handshake_done();
            (Stream::Tls(Box::new(tls)), ControlFlow::Continue(None))
        }
        // If this side refused, its alert has been sent by now.
        Err((_, tcp)) => (Stream::Plain(tcp), ControlFlow::Break(End::Close)),
    }
}

/// Waits for the client's first bytes, then sends `bytes`.
async fn retort(stream: &mut Stream, bytes: &'static [u8]) -> End {
    let mut first = [0; 1024];
    match stream.read(&mut first).await {
        Ok(1..) => End::CloseWith(Bytes::from_static(bytes)),
        Ok(0) | Err(_) => End::Gone,
    }
}

fn alpn_of(tls: &ServerConfig) -> Vec<&[u8]> {
    tls.alpn_protocols.iter().map(Vec::as_slice).collect()
}

const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain\r\ncontent-length: 24\r\nconnection: close\r\n\r\n\
    this port speaks no TLS\n";

/// Record type 21 (alert), legacy version 3.3, two bytes: fatal, handshake_failure (RFC 8446 §6).
const HANDSHAKE_FAILURE: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28];
