//! The user's classifier of attempts: one for the retry and for the breaker.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::callback::{Site, ask};
use crate::hop::{Diagnosis, FailureClass, Outcome, is_failure};
use crate::redact::redacted;

/// A failed attempt, as a classifier sees it. A classifier of
/// [`classify_all`](crate::RetryLayer::classify_all) sees each 2xx response, too.
pub struct Failure<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) outcome: Outcome,
    pub(crate) headers: Option<&'a HeaderMap>,
    pub(crate) body: Option<Bytes>,
    pub(crate) trailers: Option<&'a HeaderMap>,
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
        self.outcome
    }

    /// The status of the response, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self.outcome {
            Outcome::Answered(status) => Some(status),
            Outcome::Failed { status, .. } => status,
            Outcome::Pending | Outcome::Done | Outcome::Cancelled => None,
        }
    }

    /// The headers of the response, if there was one.
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.headers
    }

    /// The first 8 KiB of the response's body, without its content-coding.
    ///
    /// Only calls that receive the whole body have it: `fetch_*`, and
    /// [`Options::whole_body`](crate::Options::whole_body). `None` in others, and where a coding cannot be decoded.
    /// A body that stalls is cut where it stalls, after 250 ms.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// The trailers of the response, if its body was read to the end and has any.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers
    }
}

impl fmt::Debug for Failure<'_> {
    /// Without headers, body, query and userinfo: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("method", &self.method)
            .field("url", &redacted(self.uri))
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}

/// A classifier of the user's. If it panics, it has nothing to say.
#[derive(Clone)]
pub(crate) struct Classifier {
    classify: Arc<Classify>,
    sees_all: bool,
}

type Classify = dyn Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync;

impl Classifier {
    /// Sees failed attempts alone.
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

    /// Sees 2xx responses, too.
    pub(crate) fn of_all<F>(site: Site, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        Self {
            sees_all: true,
            ..Self::of_failures(site, classify)
        }
    }

    /// Whether a response of this status is for it.
    pub(crate) fn sees(&self, status: StatusCode) -> bool {
        self.sees_all && status.is_success() || is_failure(status)
    }

    pub(crate) fn ask(&self, failure: &Failure<'_>) -> Option<FailureClass> {
        (self.classify)(failure)
    }
}

/// The word of a classifier on a response.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Classified {
    pub(crate) class: Option<FailureClass>,
    /// The failure that it sees in a 2xx.
    pub(crate) failed: Option<Diagnosis>,
}
