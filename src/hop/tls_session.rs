//! The TLS of a connection, as spans and timelines show it.

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsSession {
    /// "1.3" or "1.2".
    pub(crate) version: &'static str,
    /// The protocol that the server chose (RFC 7301), if it is known.
    pub(crate) alpn: Option<&'static str>,
    /// Whether an earlier session was resumed, if it is known.
    pub(crate) is_resumed: Option<bool>,
}
