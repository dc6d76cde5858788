//! The target of a call: a request, or an operation without one.

use std::fmt;
use std::sync::Arc;

use http::{Method, Uri};

use crate::destination::Destination;
use crate::redact::redacted;

#[derive(Clone, Debug)]
pub(crate) enum CallTarget {
    Request {
        method: Method,
        uri: Uri,
    },
    Operation {
        name: Arc<str>,
        destination: Destination,
    },
}

impl CallTarget {
    pub(crate) fn method(&self) -> Option<&Method> {
        match self {
            Self::Request { method, .. } => Some(method),
            Self::Operation { .. } => None,
        }
    }

    pub(crate) fn uri(&self) -> Option<&Uri> {
        match self {
            Self::Request { uri, .. } => Some(uri),
            Self::Operation { .. } => None,
        }
    }

    /// Returns the target's URL as it may be shown: see [`redacted`].
    pub(super) fn url(&self) -> String {
        match self {
            Self::Request { uri, .. } => redacted(uri),
            Self::Operation { destination, .. } => destination.to_string(),
        }
    }
}

impl fmt::Display for CallTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { method, uri } => write!(f, "{method} {}", redacted(uri)),
            Self::Operation { name, destination } => write!(f, "{name} at {destination}"),
        }
    }
}
