use std::error::Error as StdError;
use std::time::Duration;
use std::{fmt, io};

use http::StatusCode;

use super::{Latency, LimitExpired};
use crate::box_error::BoxError;
use crate::config_error::SettingError;
use crate::limit::Waited;

/// What can befall a request: see the table of [the module](crate::chaos).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Mishap {
    /// Nobody listens. Nothing is sent.
    RefuseConnect,
    /// The attempt to connect is swallowed, and ends with the connect limit. Nothing is sent.
    SwallowConnect,
    /// The connection breaks before it takes the request. Nothing is sent.
    BreakConnection,
    /// This answer, 400 to 599, instead of the service's own. Nothing is sent, which nobody can tell
    /// from a 5xx.
    Answer {
        /// Its status.
        status: StatusCode,
        /// Its `Retry-After`, in whole seconds, rounded up.
        retry_after: Option<Duration>,
    },
    /// The real answer, kept back for so long.
    Late(Latency),
    /// The real answer is thrown away, and the connection reads as closed.
    LoseAnswer,
    /// The real answer is thrown away, and nothing comes instead.
    Silence,
    /// The real head, and a body that breaks off at its beginning. An answer without a body is left as
    /// it is.
    BreakBody,
}

impl Mishap {
    /// A 429 that asks to come back after so long.
    #[must_use]
    pub const fn throttled(retry_after: Duration) -> Self {
        Self::Answer {
            status: StatusCode::TOO_MANY_REQUESTS,
            retry_after: Some(retry_after),
        }
    }

    /// A 503 that does not say when to come back.
    #[must_use]
    pub const fn unavailable() -> Self {
        Self::Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: None,
        }
    }

    /// The word for it, as in spans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefuseConnect => "refuse_connect",
            Self::SwallowConnect => "swallow_connect",
            Self::BreakConnection => "break_connection",
            Self::Answer { .. } => "answer",
            Self::Late(_) => "late",
            Self::LoseAnswer => "lose_answer",
            Self::Silence => "silence",
            Self::BreakBody => "break_body",
        }
    }

    /// Whether a real one leaves the request with the caller, its body untouched.
    pub(crate) const fn comes_before_sending(self) -> bool {
        matches!(
            self,
            Self::RefuseConnect | Self::SwallowConnect | Self::BreakConnection
        )
    }

    /// What a transport that met it would say.
    pub(crate) fn error(self) -> BoxError {
        let kind = match self {
            Self::RefuseConnect => io::ErrorKind::ConnectionRefused,
            Self::BreakBody => io::ErrorKind::UnexpectedEof,
            Self::SwallowConnect => return Box::new(Played(self)),
            Self::BreakConnection
            | Self::Answer { .. }
            | Self::Late(_)
            | Self::LoseAnswer
            | Self::Silence => io::ErrorKind::ConnectionReset,
        };
        Box::new(io::Error::new(kind, Played(self)))
    }

    pub(crate) fn check(self) -> Result<(), SettingError> {
        match self {
            Self::Late(latency) => latency.check(),
            Self::Answer { status, .. } if !(400..600).contains(&status.as_u16()) => {
                let value = status.as_u16();
                Err(SettingError::invalid("chaos.status", value, "400..=599"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RefuseConnect => "connect refused",
            Self::SwallowConnect => "connect swallowed",
            Self::BreakConnection => "connection broken",
            Self::Answer { status, .. } => return write!(f, "{} made up", status.as_u16()),
            Self::Late(_) => "answer kept back",
            Self::LoseAnswer => "answer lost",
            Self::Silence => "answer withheld",
            Self::BreakBody => "body broken off",
        })
    }
}

/// The cause of a failure that chaos played.
#[derive(Debug)]
pub(crate) struct Played(Mishap);

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chaos: {}, on purpose", self.0)
    }
}

impl StdError for Played {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        matches!(self.0, Mishap::SwallowConnect).then_some(&CONNECT_LIMIT as _)
    }
}

const CONNECT_LIMIT: LimitExpired = LimitExpired(Waited::Connect);
