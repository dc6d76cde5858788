use std::fmt;

/// The timeout that expired, or the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// The deadline of the whole call.
    Deadline,
    /// The timeout of one attempt.
    Attempt,
    /// The timeout of a DNS lookup.
    Dns,
    /// The timeout of a TCP connect, over all addresses.
    Connect,
    /// The timeout of a TLS handshake.
    Tls,
    /// The timeout without progress while the request is sent.
    Send,
    /// The timeout from the last request byte to the response head.
    FirstByte,
    /// The timeout without a byte of the response body.
    BodyIdle,
}

impl TimeoutKind {
    /// Returns its name in errors and timelines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Attempt => "attempt timeout",
            Self::Dns => "dns timeout",
            Self::Connect => "connect timeout",
            Self::Tls => "tls timeout",
            Self::Send => "send timeout",
            Self::FirstByte => "first byte timeout",
            Self::BodyIdle => "body idle timeout",
        }
    }
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
