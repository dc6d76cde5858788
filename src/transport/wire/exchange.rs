//! The input and the output of both protocols.

use std::pin::Pin;
use std::sync::Weak;

use bytes::Bytes;
use http_body::Body;

use crate::box_error::BoxError;

/// Attaches a new connection to its pool.
pub(crate) struct Attachment<H: ?Sized, T> {
    pub(crate) home: Weak<H>,
    /// Lives as long as the connection's task: the connection counts as open until then.
    pub(crate) hold: T,
}

/// A request that has no response.
#[derive(Debug)]
pub(crate) struct ExchangeError {
    pub(crate) error: BoxError,
    /// It is certain that not a byte of the request went out.
    pub(crate) is_unsent: bool,
}

/// The body of a request as a connection takes it.
pub(crate) type SendBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send + Sync>>;
