//! The connections: what goes over the wire, and what is known of it.

pub(super) mod http1;
pub(super) mod http2;
pub(super) mod incoming;
pub(super) mod lane;
pub(super) mod life;
pub(super) mod socket;
pub(super) mod stream;
mod upload;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;

use self::http1::Http1;
use crate::box_error::BoxError;

/// Where connections rest between two requests. Their tasks report to it.
pub(super) trait Home: Send + Sync + 'static {
    /// Takes a connection that is idle. False if it is not wanted.
    fn rest(&self, connection: &Arc<Http1>) -> bool;

    /// Lets go of a connection that has been idle for too long. False if it is in use.
    fn expire(&self, connection: &Arc<Http1>) -> bool;

    /// An HTTP/2 connection has more room, or less.
    fn changed(&self);
}

/// What a new connection needs of its surroundings.
pub(super) struct Place<T> {
    pub(super) home: std::sync::Weak<dyn Home>,
    /// Lives as long as the connection's task: the connection counts as open until then.
    pub(super) hold: T,
}

/// A request that has no response.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: BoxError,
    /// It is certain that not a byte of the request went out.
    pub(super) is_unsent: bool,
}

/// The body of a request as a connection takes it.
pub(super) type SendBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send + Sync>>;
