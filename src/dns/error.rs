//! Why a name has no addresses.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::system::NoServer;
use crate::hop::Kind;

/// A host name that did not resolve.
///
/// [`reason`](Self::reason) tells what happened, [`source`](std::error::Error::source) keeps what the
/// DNS client said about it. Cloning is cheap: everyone who asked for the name gets the same error.
#[derive(Clone, Debug)]
pub struct Error(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: Box<str>,
    failure: Failure,
}

impl Error {
    /// Creates the error a [`Resolve`](super::Resolve) of one's own reports.
    #[must_use]
    pub fn new(host: &str, reason: Reason) -> Self {
        Self::from_failure(host, Failure::new(reason))
    }

    /// Adds what led to this error.
    #[must_use]
    pub fn caused_by(self, cause: impl StdError + Send + Sync + 'static) -> Self {
        let failure = Failure {
            cause: Some(Arc::new(cause)),
            ..self.0.failure.clone()
        };
        Self::from_failure(&self.0.host, failure)
    }

    /// Why the name did not resolve.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.failure.reason
    }

    /// The name that was asked for, as the caller wrote it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// When it is worth asking again, if that is known: until then the same is said from memory.
    pub(crate) fn again(&self) -> Option<Instant> {
        self.0.failure.again
    }

    /// The system names no server: the text says what to set.
    fn no_server(&self) -> Option<&NoServer> {
        self.0.failure.cause.as_deref()?.downcast_ref()
    }

    pub(crate) fn from_failure(host: &str, failure: Failure) -> Self {
        let host = host.into();
        Self(Arc::new(Inner { host, failure }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.0.host;
        match self.0.failure.reason {
            Reason::NotFound => write!(f, "the name {host} does not exist"),
            Reason::NoRecords => write!(f, "the name {host} has no addresses"),
            Reason::Protocol => write!(f, "the name server's answer for {host} made no sense"),
            Reason::ServerFailure => write!(f, "the name server failed to look up {host}"),
            Reason::Unreachable => match self.no_server() {
                Some(why) => write!(f, "no name server to look up {host}: {why}"),
                None => write!(f, "no name server could be reached to look up {host}"),
            },
            Reason::Timeout => write!(f, "no name server answered in time for {host}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let cause = self.0.failure.cause.as_deref()?;
        Some(cause)
    }
}

/// Why a name did not resolve, the mildest reason first.
///
/// If a lookup fails in several ways, it reports the worst one. A name must not be called missing while a server that
/// could know it stays silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The name does not exist (NXDOMAIN).
    NotFound,
    /// The name exists, but has no address (NODATA).
    NoRecords,
    /// The response was invalid.
    Protocol,
    /// The server answered that it could not or would not (SERVFAIL, REFUSED and their like).
    ServerFailure,
    /// No server could be reached.
    Unreachable,
    /// No server answered within the limit.
    Timeout,
}

impl Reason {
    /// Whether a server said with authority that there is nothing.
    #[must_use]
    pub fn is_negative(self) -> bool {
        matches!(self, Self::NotFound | Self::NoRecords)
    }
}

/// A reason and its cause, before it is known for which host the error is.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) cause: Option<Cause>,
    /// Until then no server is asked again (RFC 9520).
    pub(crate) again: Option<Instant>,
}

type Cause = Arc<dyn StdError + Send + Sync>;

impl Failure {
    pub(crate) fn new(reason: Reason) -> Self {
        Self {
            reason,
            cause: None,
            again: None,
        }
    }

    pub(crate) fn because(reason: Reason, cause: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            cause: Some(Arc::new(cause)),
            ..Self::new(reason)
        }
    }

    /// Of two failures, the one worth reporting; the first of two that are alike. It is worth asking again as
    /// soon as one of the two is.
    pub(crate) fn worst(self, other: Self) -> Self {
        let again = [self.again, other.again].into_iter().flatten().min();
        let worst = if other.reason > self.reason {
            other
        } else {
            self
        };
        Self { again, ..worst }
    }
}

impl From<Reason> for Kind {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NotFound => Self::NotFound,
            Reason::NoRecords => Self::NoRecords,
            Reason::Protocol => Self::Protocol,
            Reason::ServerFailure => Self::ServerFailure,
            Reason::Unreachable => Self::Unreachable,
            Reason::Timeout => Self::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_sentence_and_source_keeps_the_cause() {
        let error = Error::new("api.test", Reason::Timeout).caused_by(fmt::Error);

        assert_eq!(
            error.to_string(),
            "no name server answered in time for api.test"
        );
        assert!(error.source().unwrap().is::<fmt::Error>());
    }

    #[test]
    fn worst_reason_wins_and_the_first_of_equals() {
        let worst_first = [
            Reason::Timeout,
            Reason::Unreachable,
            Reason::ServerFailure,
            Reason::Protocol,
            Reason::NoRecords,
            Reason::NotFound,
        ];
        for pair in worst_first.windows(2) {
            let [worse, better] = [pair[0], pair[1]].map(Failure::new);
            assert_eq!(better.clone().worst(worse.clone()).reason, pair[0]);
            assert_eq!(worse.worst(better).reason, pair[0]);
        }
    }
}
