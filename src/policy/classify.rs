//! The user's classifier of failed attempts: one for the retry and for the breaker.

use std::fmt;

use http::{HeaderMap, Method, Uri};

use crate::hop::{Diagnosis, FailureClass, Outcome};
use crate::redact::redacted;

/// A classifier of the user's, behind `catch_unwind`.
pub(crate) type Classify = dyn Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync;

/// A failed attempt, as a classifier sees it.
pub struct Failure<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) headers: Option<&'a HeaderMap>,
}

impl Failure<'_> {
    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.method
    }

    /// The request's URL, whole: it may hold secrets.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// How the attempt ended: hop, kind, effect, status.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.diagnosis.into()
    }

    /// The headers of the response, if there was one.
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.headers
    }
}

impl fmt::Debug for Failure<'_> {
    /// Without headers, query and userinfo: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("method", &self.method)
            .field("url", &redacted(self.uri))
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}
