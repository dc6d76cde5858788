//! The faults of a connection.

use crate::testing::Identity;

/// The treatment of one connection by a [`FaultServer`](super::FaultServer).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnFault {
    /// No fault. It keeps a position in the queue, so that a later connection fails.
    Behave,
    /// Accepts, then never sends anything, and discards all received bytes. On a TLS server the handshake never begins.
    Silent,
    /// Replies to the first bytes with a plain-text HTTP 400 and closes, whatever protocol the port has.
    PlainHttp,
    /// Replies to the first bytes with the fatal TLS alert `handshake_failure` and closes.
    TlsAlert,
    /// Uses this certificate instead of the server's own. Without TLS there is no fault.
    WrongCertificate(Identity),
    /// Closes (FIN) as soon as the connection is accepted.
    CloseAtOnce,
    /// Closes (close_notify, FIN) as soon as the TLS handshake is complete. Without TLS it is like
    /// [`CloseAtOnce`](Self::CloseAtOnce).
    CloseAfterHandshake,
    /// Resets (RST) as soon as the connection is accepted. A client that is slow may see a failed connect. With
    /// [`ResetOnFirstBytes`](Self::ResetOnFirstBytes) the connect always succeeds.
    ResetAtOnce,
    /// Resets (RST) when the first bytes arrive: in the handshake with TLS, otherwise in the request.
    ResetOnFirstBytes,
    /// HTTP/2: accepts this many streams at a time (SETTINGS_MAX_CONCURRENT_STREAMS), without a fault. On HTTP/1.1
    /// there is no fault.
    MaxStreams(u32),
}
