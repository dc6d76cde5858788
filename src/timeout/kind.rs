use std::fmt;

/// The limit that expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// The deadline of the whole call.
    Deadline,
    /// The limit of one attempt.
    Attempt,
    /// The limit of a DNS lookup.
    Dns,
    /// The limit of a TCP connect.
    Connect,
    /// The limit of a TLS handshake.
    Tls,
    /// The limit without progress while sending.
    Send,
    /// The limit from the last request byte to the response head.
    FirstByte,
    /// The limit without a byte of the response body.
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
