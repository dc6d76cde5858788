//! The tower service: what a policy demands of the service below it, and nothing more.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::DriverBody;
use super::future::DriverFuture;
use super::later::{Again, Kept, Later, Now, Once, Resend};
use super::policies::Policies;
use super::run::Run;
use crate::box_error::BoxError;
use crate::error::Error;
use crate::hop::{Diagnosis, Hop, Kind};
use crate::replay::{BodyCloner, Saved};

/// A response over HTTP, whatever its body: [`http::Response`].
///
/// A bound by this trait instead of by `Response<R>` keeps compile times of nested stacks low.
pub trait HttpResponse: sealed::Sealed {
    /// The body.
    type Body: Body<Error: Into<BoxError>>;

    /// Returns the response itself.
    fn into_response(self) -> Response<Self::Body>;
}

impl<R: Body<Error: Into<BoxError>>> HttpResponse for Response<R> {
    type Body = R;

    fn into_response(self) -> Self {
        self
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {}
    impl<R> Sealed for http::Response<R> {}
}

/// The service of every layer of this crate: one loop that lets the policies decide.
///
/// `K` says whether it may send a request again ([`Again`]) or not ([`Now`]).
#[derive(Clone)]
pub struct Driver<S, K = Now> {
    inner: S,
    resend: K,
    policies: Arc<Policies>,
}

impl<S, K> Driver<S, K> {
    pub(crate) fn new(inner: S, resend: K, policies: Policies) -> Self {
        Self {
            inner,
            resend,
            policies: Arc::new(policies),
        }
    }
}

impl<S, B> Service<Request<B>> for Driver<S, Now>
where
    S: Service<Request<B>, Response: HttpResponse, Error: Into<BoxError>>,
{
    type Response = Response<DriverBody<<S::Response as HttpResponse>::Body>>;
    type Error = Error;
    type Future = DriverFuture<Once<B, S::Future>, <S::Response as HttpResponse>::Body>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| unready(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (run, rejected) = Run::begin(&self.policies, &mut request);
        if let Some(rejected) = rejected {
            return DriverFuture::begun(Once::new(), run, Err(rejected));
        }
        let first = run.launch(request, false, |request| self.inner.call(request));
        DriverFuture::begun(Once::new(), run, first)
    }
}

impl<S, B, C> Service<Request<B>> for Driver<S, Again<C>>
where
    S: Service<Request<B>, Response: HttpResponse, Error: Into<BoxError>> + Clone,
    C: BodyCloner<B> + Clone,
    B: Send + 'static,
{
    type Response = Response<DriverBody<<S::Response as HttpResponse>::Body>>;
    type Error = Error;
    type Future = DriverFuture<Later<S, B, C>, <S::Response as HttpResponse>::Body>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| unready(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut later = Later {
            kept: None,
            cloner: self.resend.0.clone(),
        };
        let (run, rejected) = Run::begin(&self.policies, &mut request);
        if let Some(rejected) = rejected {
            return DriverFuture::begun(later, run, Err(rejected));
        }
        if run.may_send_again() {
            later.kept = Some(Kept {
                request: Saved::of(&mut request, run.own_extensions(), &later.cloner),
                service: self.inner.clone(),
            });
        }
        // The service that was polled ready sends this request, a clone of it those that may follow.
        let is_replayable = later.is_replayable();
        let first = run.launch(request, is_replayable, |request| self.inner.call(request));
        DriverFuture::begun(later, run, first)
    }
}

/// The error of a service that was not ready: nothing was sent.
pub(super) fn unready(error: BoxError) -> Error {
    Error::ours(error).unwrap_or_else(|other| {
        let unready = Diagnosis {
            hop: None,
            ..Diagnosis::unsent(Hop::Send, Kind::Other)
        };
        Error::new(unready).because(other)
    })
}

impl<S: fmt::Debug, K> fmt::Debug for Driver<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
