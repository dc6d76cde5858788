//! The faults of a connection.

use crate::testing::Identity;

/// The treatment of one connection by a [`FaultServer`](super::FaultServer).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnFault {
    /// None at all: keeps a place in the queue, so that a later connection is the one to fail.
    Behave,
    /// Accepts, then never says anything; what comes in is thrown away. On a TLS server the
    /// handshake never begins.
    Silent,
    /// Answers the first bytes with a plain-text HTTP 400 and closes, whatever the port is for.
    PlainHttp,
    /// Answers the first bytes with the fatal TLS alert `handshake_failure` and closes.
    TlsAlert,
    /// Shows this certificate instead of the server's own. Without TLS: behaves.
    WrongCertificate(Identity),
    /// Closes (FIN) as soon as the connection was accepted.
    CloseAtOnce,
    /// Closes (close_notify, FIN) as soon as the TLS handshake is over. Without TLS: like
    /// [`CloseAtOnce`](Self::CloseAtOnce).
    CloseAfterHandshake,
    /// Resets (RST) as soon as the connection was accepted. A client that is slow to look finds its
    /// connect failed already; [`ResetOnFirstBytes`](Self::ResetOnFirstBytes) leaves it no choice.
    ResetAtOnce,
    /// Resets (RST) when the first bytes arrive: with TLS in the handshake, else in the request.
    ResetOnFirstBytes,
    /// HTTP/2: takes this many streams at a time (SETTINGS_MAX_CONCURRENT_STREAMS) and behaves.
    /// On HTTP/1.1: behaves.
    MaxStreams(u32),
}
