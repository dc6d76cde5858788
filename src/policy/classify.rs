//! The user's classifier of attempts. The retry and the breaker share it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::callback::{Site, ask};
use crate::hop::{Diagnosis, FailureClass, Outcome, is_failure};
use crate::redact::redacted;

/// A failed attempt, as a classifier sees it. A classifier of [`classify_all`](crate::RetryLayer::classify_all) also
/// sees each 2xx response.
pub struct Failure<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) outcome: Outcome,
    pub(crate) headers: Option<&'a HeaderMap>,
    pub(crate) body: Option<Bytes>,
    pub(crate) trailers: Option<&'a HeaderMap>,
}

impl Failure<'_> {
    /// Returns the request's method.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.method
    }

    /// Returns the complete URL of the request. It may hold secrets.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// Returns how the attempt ended: hop, kind, effect, status.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the status of the response, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self.outcome {
            Outcome::Responded(status) => Some(status),
            Outcome::Failed { status, .. } => status,
            Outcome::Pending | Outcome::Done | Outcome::Cancelled => None,
        }
    }

    /// Returns the headers of the response, if there was one.
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.headers
    }

    /// Returns the first 8 KiB of the response's body, decoded from its content coding.
    ///
    /// Only calls that receive the whole body have it: `fetch_*`, and
    /// [`Options::whole_body`](crate::Options::whole_body). It is `None` in other calls, and if a coding cannot be
    /// decoded. If a body stalls for 250 ms, only the part before the stall is returned.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// Returns the trailers of the response, if its body was read to the end and has any.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers
    }
}

impl fmt::Debug for Failure<'_> {
    /// Shows no headers, body, query or userinfo: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("method", &self.method)
            .field("url", &redacted(self.uri))
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}

/// The user's classifier. If it panics, its result counts as `None`.
#[derive(Clone)]
pub(crate) struct Classifier {
    classify: Arc<Classify>,
    sees_all: bool,
}

type Classify = dyn Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync;

impl Classifier {
    /// Creates a classifier that sees failed attempts only.
    pub(crate) fn of_failures<F>(site: Site, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        let classify = move |failure: &Failure<'_>| ask(&site, || classify(failure));
        Self {
            classify: Arc::new(classify),
            sees_all: false,
        }
    }

    /// Creates a classifier that also sees 2xx responses.
    pub(crate) fn of_all<F>(site: Site, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        Self {
            sees_all: true,
            ..Self::of_failures(site, classify)
        }
    }

    /// Returns whether the classifier sees responses of this status.
    pub(crate) fn sees(&self, status: StatusCode) -> bool {
        self.sees_all && status.is_success() || is_failure(status)
    }

    pub(crate) fn ask(&self, failure: &Failure<'_>) -> Option<FailureClass> {
        (self.classify)(failure)
    }
}

/// Returns whether a response says that the destination gets too many requests: by its status, or by the classifier.
pub(crate) fn is_overload(status: StatusCode, class: Option<FailureClass>) -> bool {
    match class {
        Some(FailureClass::Throttled) => true,
        Some(FailureClass::Success | FailureClass::Ignore) => false,
        Some(FailureClass::Transient | FailureClass::Permanent) | None => {
            OVERLOAD.contains(&status.as_u16())
        }
    }
}

/// Too many requests, unavailable, and "site is overloaded" of several gateways.
const OVERLOAD: [u16; 3] = [429, 503, 529];

/// The result of a classifier for a response.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Classified {
    pub(crate) class: Option<FailureClass>,
    /// The failure that the classifier found in a 2xx.
    pub(crate) failed: Option<Diagnosis>,
}
