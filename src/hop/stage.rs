//! The stages of an attempt.

use std::fmt;

use super::Hop;

/// A stage of an attempt. The gateway hop and the server hop share the stage `Wait`.
#[expect(clippy::exhaustive_enums, reason = "the journey is not getting longer")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    /// A name is being looked up. A cached DNS answer does not enter this stage.
    Dns,
    /// A TCP connection is being made, and a tunnel through a proxy if there is one.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From a usable connection to the last byte of the request.
    Send,
    /// From the last byte of the request to the head of the response.
    Wait,
    /// From the head of the response to its last byte.
    Receive,
}

impl Stage {
    /// All stages, in the order of an attempt.
    pub const ALL: [Self; 6] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Send,
        Self::Wait,
        Self::Receive,
    ];

    /// Returns its name in spans and timelines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Wait => "wait",
            Self::Receive => "receive",
        }
    }

    /// Returns the stage in which a hop can fail; `None` for the two local ends.
    #[must_use]
    pub const fn of(hop: Hop) -> Option<Self> {
        match hop {
            Hop::Dns => Some(Self::Dns),
            Hop::Connect => Some(Self::Connect),
            Hop::Tls => Some(Self::Tls),
            Hop::Send => Some(Self::Send),
            Hop::Gateway | Hop::Server => Some(Self::Wait),
            Hop::Receive => Some(Self::Receive),
            Hop::Encode | Hop::Decode => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
