//! The types that both protocols use.

use std::pin::Pin;
use std::sync::Weak;

use bytes::Bytes;
use http_body::Body;

use crate::box_error::BoxError;
use crate::hop::BodyFailed;

/// Attaches a new connection to its pool.
pub(crate) struct Attachment<H: ?Sized, T> {
    pub(crate) home: Weak<H>,
    /// Dropped when the connection's task ends, or when the connection is evicted: until then it counts as open.
    pub(crate) hold: T,
}

/// The failure of a request that has no response.
#[derive(Debug)]
pub(crate) struct ExchangeError {
    pub(crate) error: BoxError,
    /// Whether it is certain that no byte of the request went out.
    pub(crate) is_unsent: bool,
}

/// The source of a request body. A connection reports its failure only as a failure of its own.
pub(crate) trait BodySource: Send + Sync {
    /// Returns why it failed, once.
    fn take_failure(&self) -> Option<BodyFailed>;
}

/// The body of a request as a connection takes it.
pub(crate) type SendBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send + Sync>>;
