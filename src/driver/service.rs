//! The tower service. It requires as little of the inner service as possible.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::DriverBody;
use super::admit::Entry;
use super::choice::{Choice, Live};
use super::future::DriverFuture;
use super::later::{Again, Held, KeptRequest, Later, Now, Once, Resend};
use super::policies::Policies;
use super::run::Run;
use crate::box_error::BoxError;
use crate::error::Error;
use crate::hop::{Diagnosis, Hop, Kind};
use crate::replay::{BodyCloner, Saved};
use crate::telemetry::{Entered, Span};

/// An HTTP response with any body: [`http::Response`].
///
/// A bound on this trait compiles faster in nested stacks than a bound on `Response<R>`.
pub trait HttpResponse: sealed::Sealed {
    /// The body of the response.
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
/// `K` is [`Again`] if it may send a request again, else [`Now`].
#[derive(Clone)]
pub struct Driver<S, K = Now> {
    inner: S,
    resend: K,
    choice: Choice,
}

impl<S, K> Driver<S, K> {
    pub(crate) fn new(inner: S, resend: K, policies: Policies) -> Self {
        Self {
            inner,
            resend,
            choice: Choice::One(Arc::new(policies)),
        }
    }

    /// Creates a driver whose policies can be replaced.
    pub(crate) fn live(inner: S, resend: K, policies: Arc<Live>) -> Self {
        Self {
            inner,
            resend,
            choice: Choice::Live(policies),
        }
    }
}

#[cfg(feature = "client")]
impl<S> Driver<S> {
    /// Creates a driver that has only the deadline of these policies. The others are those of a driver below.
    pub(crate) fn deadline_of(inner: S, policies: Arc<Live>) -> Self {
        Self {
            inner,
            resend: Now,
            choice: Choice::DeadlineOf(policies),
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.send(request, |_| false)
    }
}

impl<S> Driver<S, Now> {
    /// Sends a request. `has_content` says whether its body is known to have content: such a read uses no store.
    pub(crate) fn send<B>(
        &mut self,
        mut request: Request<B>,
        has_content: impl FnOnce(&B) -> bool,
    ) -> <Self as Service<Request<B>>>::Future
    where
        S: Service<Request<B>, Response: HttpResponse, Error: Into<BoxError>>,
    {
        let mut run = Run::of(self.choice.of(&request), &mut request);
        if let Some(refused) = run.refuse_options() {
            return DriverFuture::rejected(refused, Once::new(), run);
        }
        if let Some(response) = run.open_store(&request, has_content) {
            return DriverFuture::served(response, Once::new(), run);
        }
        let flight = match run.begin(&mut request, |_, _| false) {
            Ok(Entry::Go(flight)) => flight,
            // No layer of this kind has a policy that waits.
            Ok(Entry::Wait) => return DriverFuture::waiting(Once::new(), run),
            Err(failure) => return DriverFuture::rejected(failure, Once::new(), run),
        };
        let spans = (run.live_span(), flight.live_span());
        let entered = enter(&spans);
        let inner = self.inner.call(request);
        drop(entered);
        DriverFuture::sent((flight, inner), Once::new(), run)
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
            held: None,
            cloner: self.resend.0.clone(),
        };
        let mut run = Run::of(self.choice.of(&request), &mut request);
        if let Some(refused) = run.refuse_options() {
            return DriverFuture::rejected(refused, later, run);
        }
        let has_content = |body: &B| later.cloner.has_content(body);
        if let Some(response) = run.open_store(&request, has_content) {
            return DriverFuture::served(response, later, run);
        }
        let begun = run.begin(&mut request, |run, request| {
            later.kept = run.may_send_again().then(|| KeptRequest {
                request: Saved::of(request, run.own_extensions(), &later.cloner),
                service: self.inner.clone(),
            });
            later.is_replayable()
        });
        let flight = match begun {
            Ok(Entry::Go(flight)) => flight,
            Ok(Entry::Wait) => {
                // The service that was polled ready waits with its request.
                let next = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, next);
                later.held = Some(Box::new(Held {
                    request,
                    service: Some(ready),
                }));
                return DriverFuture::waiting(later, run);
            }
            Err(failure) => {
                later.take_back(request);
                return DriverFuture::rejected(failure, later, run);
            }
        };
        // The service that was polled ready sends this request. A clone of it sends those that may follow.
        let spans = (run.live_span(), flight.live_span());
        let entered = enter(&spans);
        let inner = self.inner.call(request);
        drop(entered);
        DriverFuture::sent((flight, inner), later, run)
    }
}

/// Enters the span of the call, then that of its attempt. The attempt's span is left first.
#[inline]
fn enter((call, attempt): &Spans) -> (Option<Entered<'_>>, Option<Entered<'_>>) {
    let call = call.as_ref().map(Span::enter);
    (attempt.as_ref().map(Span::enter), call)
}

type Spans = (Option<Span>, Option<Span>);

/// Returns the error of a service that was not ready. Nothing was sent.
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
