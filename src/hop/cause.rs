//! Causes that this crate adds to an error's chain.

use std::error::Error as StdError;
use std::fmt;

use super::Kind;
use crate::box_error::BoxError;
use crate::timeout::TimeoutKind;

/// A timeout expired below the attempt layer, in the connector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeoutElapsed(pub(crate) TimeoutKind);

impl fmt::Display for TimeoutElapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} expired", self.0)
    }
}

impl StdError for TimeoutElapsed {}

/// The runtime that drove a connection was shut down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuntimeGone;

impl fmt::Display for RuntimeGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the runtime that drove the connection was shut down")
    }
}

impl StdError for RuntimeGone {}

/// The peer of a connection did not acknowledge a PING. An IO error holds it, so that its kind is not that of a timer.
#[cfg(feature = "client")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unacknowledged;

#[cfg(feature = "client")]
impl fmt::Display for Unacknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer did not acknowledge a PING")
    }
}

#[cfg(feature = "client")]
impl StdError for Unacknowledged {}

/// A unix socket did not accept the connection.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct SocketFailed(pub(crate) std::io::Error);

#[cfg(feature = "client")]
impl fmt::Display for SocketFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(feature = "client")]
impl StdError for SocketFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

/// h2 refused the head of a response whose length is bounded by an option.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct HeadRefused(pub(crate) h2::Error);

#[cfg(feature = "client")]
impl fmt::Display for HeadRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the head of the response is longer than http2_max_header_bytes, or malformed")
    }
}

#[cfg(feature = "client")]
impl StdError for HeadRefused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

/// A proxy refused the tunnel.
#[derive(Clone, Debug)]
pub(crate) struct TunnelRefused {
    pub(crate) kind: Kind,
    /// The status of an HTTP proxy.
    pub(crate) status: Option<http::StatusCode>,
    /// The proxy's own reason.
    pub(crate) why: String,
}

impl fmt::Display for TunnelRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "the proxy refused the tunnel with {status}"),
            None => f.write_str("the proxy refused the tunnel"),
        }?;
        match self.why.as_str() {
            "" => Ok(()),
            why => write!(f, ": {why}"),
        }
    }
}

impl StdError for TunnelRefused {}

/// The function of `Body::retryable` returned no body.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct Unmade(pub(crate) BoxError);

#[cfg(feature = "client")]
impl fmt::Display for Unmade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the function of Body::retryable made no body")?;
        // Any other text is the function's own, and may hold a secret.
        let system = self.0.downcast_ref::<std::io::Error>();
        match system.filter(|error| error.raw_os_error().is_some()) {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

#[cfg(feature = "client")]
impl StdError for Unmade {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// The request body's own source failed.
#[derive(Debug)]
pub(crate) struct BodyFailed(pub(crate) BoxError);

impl fmt::Display for BodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of the request body failed")
    }
}

impl StdError for BodyFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}
