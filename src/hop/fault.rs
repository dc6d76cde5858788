use std::error::Error as StdError;
use std::time::Duration;
use std::{fmt, io};

use http::StatusCode;

use super::{Latency, TimeoutElapsed};
use crate::box_error::BoxError;
use crate::config_error::ConfigError;
use crate::timeout::TimeoutKind;

/// A fault that can be injected into a request: see the table of [the module](crate::chaos).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is refused. Nothing is sent.
    RefuseConnect,
    /// The connect gets no reply and ends with the connect timeout. Nothing is sent.
    BlackholeConnect,
    /// The connection breaks before it takes the request. Nothing is sent.
    BreakConnection,
    /// This generated response, status 400 to 599, replaces the service's own. Nothing is sent. After a 5xx, the caller
    /// cannot know that.
    Respond {
        /// Its status.
        status: StatusCode,
        /// Its `Retry-After`, in whole seconds, rounded up.
        retry_after: Option<Duration>,
    },
    /// The real response, delayed.
    Delay(Latency),
    /// The real response is dropped, and the connection is reported as closed.
    DropResponse,
    /// The real response is dropped, and no other response comes.
    Silence,
    /// The real head, and a body that breaks off at its beginning. A response without a body is not changed.
    BreakBody,
}

impl Fault {
    /// Returns a 429 response with this `Retry-After`.
    #[must_use]
    pub const fn throttled(retry_after: Duration) -> Self {
        Self::Respond {
            status: StatusCode::TOO_MANY_REQUESTS,
            retry_after: Some(retry_after),
        }
    }

    /// Returns a 503 response without `Retry-After`.
    #[must_use]
    pub const fn unavailable() -> Self {
        Self::Respond {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: None,
        }
    }

    /// Returns its name in spans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefuseConnect => "refuse_connect",
            Self::BlackholeConnect => "blackhole_connect",
            Self::BreakConnection => "break_connection",
            Self::Respond { .. } => "respond",
            Self::Delay(_) => "delay",
            Self::DropResponse => "drop_response",
            Self::Silence => "silence",
            Self::BreakBody => "break_body",
        }
    }

    /// Returns whether the real fault leaves the request with the caller, its body untouched.
    pub(crate) const fn comes_before_sending(self) -> bool {
        matches!(
            self,
            Self::RefuseConnect | Self::BlackholeConnect | Self::BreakConnection
        )
    }

    /// Returns the error that a transport returns for the real fault.
    pub(crate) fn error(self) -> BoxError {
        let kind = match self {
            Self::RefuseConnect => io::ErrorKind::ConnectionRefused,
            Self::BreakBody => io::ErrorKind::UnexpectedEof,
            Self::BlackholeConnect => return Box::new(InjectedFault(self)),
            Self::BreakConnection
            | Self::Respond { .. }
            | Self::Delay(_)
            | Self::DropResponse
            | Self::Silence => io::ErrorKind::ConnectionReset,
        };
        Box::new(io::Error::new(kind, InjectedFault(self)))
    }

    pub(crate) fn check(self) -> Result<(), ConfigError> {
        match self {
            Self::Delay(latency) => latency.check(),
            Self::Respond { status, .. } if !(400..600).contains(&status.as_u16()) => {
                let value = status.as_u16();
                Err(ConfigError::invalid("chaos.status", value, "400..=599"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RefuseConnect => "connect refused",
            Self::BlackholeConnect => "connect swallowed",
            Self::BreakConnection => "connection broken",
            Self::Respond { status, .. } => return write!(f, "{} generated", status.as_u16()),
            Self::Delay(_) => "response delayed",
            Self::DropResponse => "response lost",
            Self::Silence => "response withheld",
            Self::BreakBody => "body broken off",
        })
    }
}

/// The cause of an injected failure.
#[derive(Debug)]
pub(crate) struct InjectedFault(Fault);

impl fmt::Display for InjectedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chaos: {}, on purpose", self.0)
    }
}

impl StdError for InjectedFault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        matches!(self.0, Fault::BlackholeConnect).then_some(&CONNECT_LIMIT as _)
    }
}

const CONNECT_LIMIT: TimeoutElapsed = TimeoutElapsed(TimeoutKind::Connect);

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(InjectedFault: super::InjectedFault(super::Fault::Silence));
}
