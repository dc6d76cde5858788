//! Why a name has no addresses.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use hickory_resolver::net::NetError;
use tokio::time::Instant;

use super::system::NoServer;
use crate::chain::chain;
use crate::hop::{Kind, local};

/// The error of a host name that did not resolve.
///
/// [`reason`](Self::reason) says why, and [`source`](std::error::Error::source) keeps the error of the DNS client.
/// Cloning is cheap: all lookups of the name get the same error.
#[derive(Clone, Debug)]
pub struct DnsError(Arc<DnsErrorInner>);

#[derive(Debug)]
struct DnsErrorInner {
    host: Box<str>,
    failure: LookupFailure,
}

impl DnsError {
    /// Creates an error for your own [`Resolve`](super::Resolve).
    #[must_use]
    pub fn new(host: &str, reason: DnsErrorReason) -> Self {
        Self::from_failure(host, LookupFailure::new(reason))
    }

    /// Adds the cause of this error.
    #[must_use]
    pub fn caused_by(self, cause: impl StdError + Send + Sync + 'static) -> Self {
        let failure = LookupFailure {
            cause: Some(Arc::new(cause)),
            ..self.0.failure.clone()
        };
        Self::from_failure(&self.0.host, failure)
    }

    /// Returns why the name did not resolve.
    #[must_use]
    pub fn reason(&self) -> DnsErrorReason {
        self.0.failure.reason
    }

    /// Returns the name as the caller wrote it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Returns when a new query is possible, if that is known. Until then the same error comes from the cache.
    pub(crate) fn again(&self) -> Option<Instant> {
        self.0.failure.again
    }

    /// Returns whether this process lacked the resources to query a server.
    pub(crate) fn is_local(&self) -> bool {
        self.0.failure.is_local()
    }

    /// Returns the error if the system configures no server. Its text says what to set.
    fn no_server(&self) -> Option<&NoServer> {
        self.0.failure.cause.as_deref()?.downcast_ref()
    }

    pub(crate) fn from_failure(host: &str, failure: LookupFailure) -> Self {
        let host = host.into();
        Self(Arc::new(DnsErrorInner { host, failure }))
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.0.host;
        match self.0.failure.reason {
            DnsErrorReason::NotFound => write!(f, "the name {host} does not exist"),
            DnsErrorReason::NoRecords => write!(f, "the name {host} has no addresses"),
            DnsErrorReason::Protocol => write!(f, "invalid DNS response for {host}"),
            DnsErrorReason::ServerFailure => write!(f, "the name server failed to look up {host}"),
            DnsErrorReason::Unreachable => match self.no_server() {
                Some(why) => write!(f, "no name server to look up {host}: {why}"),
                None => write!(f, "no name server could be reached to look up {host}"),
            },
            DnsErrorReason::Timeout => write!(f, "no name server responded in time for {host}"),
        }
    }
}

impl StdError for DnsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let cause = self.0.failure.cause.as_deref()?;
        Some(cause)
    }
}

/// The reason why a name did not resolve, ordered from the mildest to the worst.
///
/// If a lookup fails in several ways, it reports the worst one. A name must not be reported as missing while a server
/// that could know it is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DnsErrorReason {
    /// The name does not exist (NXDOMAIN).
    NotFound,
    /// The name exists, but has no address (NODATA).
    NoRecords,
    /// The response was invalid.
    Protocol,
    /// The server responded that it could not or would not resolve the name (SERVFAIL, REFUSED and similar).
    ServerFailure,
    /// No server could be reached.
    Unreachable,
    /// No server responded within the timeout.
    Timeout,
}

impl DnsErrorReason {
    /// Returns whether a server declared with authority that there are no addresses.
    #[must_use]
    pub fn is_negative(self) -> bool {
        matches!(self, Self::NotFound | Self::NoRecords)
    }
}

/// A reason and its cause, before the host is added.
#[derive(Clone, Debug)]
pub(crate) struct LookupFailure {
    pub(crate) reason: DnsErrorReason,
    pub(crate) cause: Option<SharedError>,
    /// No server is queried again before this instant (RFC 9520).
    pub(crate) again: Option<Instant>,
}

type SharedError = Arc<dyn StdError + Send + Sync>;

impl LookupFailure {
    pub(crate) fn new(reason: DnsErrorReason) -> Self {
        Self {
            reason,
            cause: None,
            again: None,
        }
    }

    pub(crate) fn because(
        reason: DnsErrorReason,
        cause: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self {
            cause: Some(Arc::new(cause)),
            ..Self::new(reason)
        }
    }

    /// Returns whether this process lacked the resources to query a server: that says nothing about the server.
    pub(crate) fn is_local(&self) -> bool {
        let Some(cause) = self.cause.as_deref() else {
            return false;
        };
        let lacks = |error: &(dyn StdError + 'static)| match error.downcast_ref() {
            // This error does not list the wrapped IO error among its causes.
            Some(NetError::Io(io)) => local(io),
            _ => local(error),
        };
        chain(cause).any(|error| lacks(error) == Some(Kind::LocalResources))
    }

    /// Returns the failure to report of two. If they are equal, that is the first. A failure of this process does not
    /// hide one of a server, but it hides a denial. A new query is possible as soon as one of the two permits it.
    pub(crate) fn worst(self, other: Self) -> Self {
        let again = [self.again, other.again].into_iter().flatten().min();
        let badness = |failure: &Self| {
            let reason = failure.reason;
            (!reason.is_negative(), !failure.is_local(), reason)
        };
        let worst = if badness(&other) > badness(&self) {
            other
        } else {
            self
        };
        Self { again, ..worst }
    }
}

impl From<DnsErrorReason> for Kind {
    fn from(reason: DnsErrorReason) -> Self {
        match reason {
            DnsErrorReason::NotFound => Self::NotFound,
            DnsErrorReason::NoRecords => Self::NoRecords,
            DnsErrorReason::Protocol => Self::ProtocolError,
            DnsErrorReason::ServerFailure => Self::ServerFailure,
            DnsErrorReason::Unreachable => Self::Unreachable,
            DnsErrorReason::Timeout => Self::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_sentence_and_source_keeps_the_cause() {
        let error = DnsError::new("api.test", DnsErrorReason::Timeout).caused_by(fmt::Error);

        assert_eq!(
            error.to_string(),
            "no name server responded in time for api.test"
        );
        assert!(error.source().unwrap().is::<fmt::Error>());
    }

    #[test]
    fn worst_reason_wins_and_the_first_of_equals() {
        let worst_first = [
            DnsErrorReason::Timeout,
            DnsErrorReason::Unreachable,
            DnsErrorReason::ServerFailure,
            DnsErrorReason::Protocol,
            DnsErrorReason::NoRecords,
            DnsErrorReason::NotFound,
        ];
        for pair in worst_first.windows(2) {
            let [worse, better] = [pair[0], pair[1]].map(LookupFailure::new);
            assert_eq!(better.clone().worst(worse.clone()).reason, pair[0]);
            assert_eq!(worse.worst(better).reason, pair[0]);
        }
    }

    #[test]
    fn failure_of_this_process_hides_a_denial_and_no_failure_of_a_server() {
        let lacking = || {
            let cause = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
            LookupFailure::because(DnsErrorReason::Unreachable, cause)
        };
        let is_lacking = |failure: LookupFailure| failure.cause.is_some();
        for (reason, expected) in [
            (DnsErrorReason::NotFound, true),
            (DnsErrorReason::ServerFailure, false),
            (DnsErrorReason::Unreachable, false),
            (DnsErrorReason::Timeout, false),
        ] {
            let other = LookupFailure::new(reason);
            assert_eq!(
                is_lacking(lacking().worst(other.clone())),
                expected,
                "{reason:?}"
            );
            assert_eq!(is_lacking(other.worst(lacking())), expected, "{reason:?}");
        }
    }
}
