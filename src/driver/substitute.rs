//! The end of a call with a response that stands in for its failure: the last good one, or that of a fallback.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, Request, Response, StatusCode};
use http_body::Body;
use tokio::time::Instant;

use super::body::DriverBody;
use super::fallback::FallbackCall;
use super::future::{DriverState, Polling};
use super::later::Resend;
use super::next_step::NextStep;
use super::run::Run;
use super::service::HttpResponse;
use super::source::BodySource;
use crate::box_error::BoxError;
use crate::call::Call;
use crate::clock;
#[cfg(feature = "cookies")]
use crate::consistency::ForOneUser;
use crate::diagnose::{AttemptFailure, Edge};
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Keyed, Outcome, TimelineEventKind};
use crate::policy::fallback::{FallbackFuture, Replacement};
use crate::policy::stale::{Found, IsRefresh, Refresh, Staleness, StoreUse, stands_in_for};
use crate::timeline::Timeline;

/// Returns whether a response stands in for one that failed.
pub(super) fn is_substitute(marks: &Extensions) -> bool {
    marks.get::<Staleness>().is_some() || marks.get::<Replacement>().is_some()
}

impl Run {
    /// Prepares the use of the store. Returns a stored response that is served before the server is asked.
    #[inline]
    pub(super) fn open_store<B, R>(
        &mut self,
        request: &Request<B>,
        has_content: impl FnOnce(&B) -> bool,
    ) -> Option<Response<DriverBody<R>>> {
        let policy = self.policies.stale.as_ref()?;
        self.call.keep_responses();
        let options = self.call.options();
        let own = options.consistency;
        let target = (request.method(), request.uri(), request.headers());
        let now = clock::now();
        let is_refresh = request.extensions().get::<IsRefresh>().is_some();
        let target = (target, has_content(request.body()));
        let begun = policy.begin(target, (own, is_refresh), now);
        let is_stream = options.streaming;
        self.stale = begun
            .filter(|begun| begun.read().is_none() || !is_stream)
            .map(Box::new);
        self.serve_before_asking(request, now)
    }

    fn serve_before_asking<B, R>(
        &mut self,
        request: &Request<B>,
        now: Instant,
    ) -> Option<Response<DriverBody<R>>> {
        let read = self.stale.as_deref()?.read()?;
        let found = read.before_asking(now);
        let fits = |((_, bytes, _), _): &(Found, _)| self.fits(bytes);
        let ((mut head, bytes, age), claim) = found.filter(fits)?;
        if let Some(claim) = claim {
            let mut asks = Request::new(()).into_parts().0;
            asks.method = request.method().clone();
            asks.uri = request.uri().clone();
            asks.version = request.version();
            asks.headers = request.headers().clone();
            asks.extensions = request.extensions().clone();
            asks.extensions.remove::<Call>();
            let mut options = self.call.options().clone();
            // The refresh has a time of its own. The caller does not wait for it.
            (options.deadline, options.inherited.deadline) = (None, None);
            asks.extensions.insert(options);
            head.extensions
                .insert(Refresh::new(asks, read.bounds(), claim));
        }
        head.extensions.insert(Staleness::new(age, None));
        let instead_of = None;
        let effect = Effect::unsent();
        Some(self.stand_in(
            (head, bytes),
            effect,
            TimelineEventKind::Stale { age, instead_of },
        ))
    }

    /// Returns whether a failure may have a substitute.
    #[inline]
    pub(super) fn has_substitute(&self) -> bool {
        self.stale.is_some() || self.policies.fallback.is_some()
    }

    /// Ends a failed call: with a substitute, or by asking the fallback for one, or with the failure.
    pub(super) fn conclude<R>(&mut self, failure: AttemptFailure) -> NextStep<R> {
        self.turn = None;
        self.last = None;
        let error = self.error(failure);
        self.call.saw(error.effect());
        self.end_write(|_| error.effect());
        let error = match self.serve_stale(error) {
            Ok(response) => return NextStep::Deliver(response),
            Err(error) => error,
        };
        match self.ask(&error) {
            Some(future) => NextStep::Fallback(FallbackCall::after_failure(future, error)),
            None => NextStep::End(error.into()),
        }
    }

    /// Delivers a response whose status may be a failure that has a substitute. A good one is recorded.
    pub(super) fn deliver_or_substitute<R>(
        &mut self,
        head: Parts,
        mut body: DriverBody<R>,
    ) -> NextStep<R> {
        let failed = self.failed_by(&head);
        self.end_write(|run| body.effect().max(run.call.effect_since(run.from)));
        let Some(failed) = failed else {
            self.record_good(&head, &mut body);
            return self.deliver_as_is(head, body);
        };
        let by_status = Error::by_status(failed, &head.headers);
        let error = self.error(by_status.into());
        let error = match self.serve_stale(error) {
            Ok(response) => return NextStep::Deliver(response),
            Err(error) => error,
        };
        match self.ask(&error) {
            Some(future) => {
                let until = self.end_of_drain();
                let response = Response::from_parts(head, body);
                NextStep::Fallback(FallbackCall::after_response(
                    future,
                    (response, error),
                    until,
                ))
            }
            None => self.deliver_as_is(head, body),
        }
    }

    /// Makes the error of a failure that may not be the end of the call.
    fn error(&self, failure: AttemptFailure) -> Error {
        if let Some(policy) = failure.rejected_by() {
            self.call.rejected_by(policy);
        }
        let seen = self.seen.all;
        let edge = match &self.scope {
            Some(scope) => Edge {
                seen,
                ..Edge::of_call(scope.call())
            },
            None => Edge {
                call: &self.call,
                from: self.from,
                seen,
            },
        };
        Error::at_edge(edge, failure)
    }

    /// Returns the failure that a response stands for, if a substitute is better than that response.
    fn failed_by(&self, head: &Parts) -> Option<Diagnosis> {
        let status = head.status;
        let judged = self.call.judged(status);
        // A 2xx is a failure if the user's classifier says so.
        let is_failed = |_: &Diagnosis| is_server_error(status) || status.is_success();
        let judged = judged.or_else(|| Diagnosis::status(status, &head.headers, Keyed::No));
        judged.filter(is_failed)
    }

    /// Ends a call that may have changed something. `effect` is called for such a call only.
    fn end_write(&mut self, effect: impl FnOnce(&Self) -> Effect) {
        let is_write = |stale: &mut Box<StoreUse>| stale.read().is_none();
        if let Some(StoreUse::Write(write)) = self.stale.take_if(is_write).map(|stale| *stale) {
            let effect = effect(self);
            let had_effect = !effect.is_none() && !effect.is_declined();
            write.end(had_effect, clock::now());
        }
    }

    /// Returns the last good response in place of a failure. Without one, returns the failure.
    fn serve_stale<R>(&mut self, error: Error) -> Result<Response<DriverBody<R>>, Error> {
        let read = self.stale.as_deref().and_then(StoreUse::read);
        let read = read.filter(|_| stands_in_for(&error.diagnosis()));
        let found = read.and_then(|read| read.after_failure(clock::now()));
        let found = found.filter(|(_, bytes, _)| self.fits(bytes));
        let Some((mut head, bytes, age)) = found else {
            return Err(error);
        };
        let instead_of = Some(Outcome::from(error.diagnosis()));
        let effect = error.effect();
        head.extensions
            .insert(Staleness::new(age, Some(error.into())));
        Ok(self.stand_in(
            (head, bytes),
            effect,
            TimelineEventKind::Stale { age, instead_of },
        ))
    }

    /// Returns whether a stored body is as short as the call demands.
    fn fits(&self, stored: &Bytes) -> bool {
        let most = self.call.options().whole_body;
        most.is_none_or(|most| stored.len() <= most)
    }

    fn ask(&self, error: &Error) -> Option<FallbackFuture> {
        let fallback = self.policies.fallback.as_ref()?;
        fallback.ask(error)
    }

    /// Returns a substitute, and notes it in the timeline.
    pub(super) fn stand_in<R>(
        &mut self,
        (head, bytes): (Parts, Bytes),
        effect: Effect,
        what: TimelineEventKind,
    ) -> Response<DriverBody<R>> {
        self.stale = None;
        self.call.saw(self.seen.all.max(effect));
        self.call.stand_in(what, head.status);
        let timeline = Timeline(self.call.clone());
        let mut body = DriverBody::new(BodySource::whole(bytes, None), self.seen.all, timeline);
        body.ends(self.scope.take());
        Response::from_parts(head, body)
    }

    /// Records a good response for later calls. After a redirect, it is not the response of the requested URL. That
    /// also holds for a redirect that a stack below followed. A substitute of a stack below is not a good response.
    fn record_good<R>(&mut self, head: &Parts, body: &mut DriverBody<R>) {
        let is_own = |_: &_| !is_substitute(&head.extensions) && !self.call.leads_elsewhere();
        let stale = self.stale.take().filter(is_own);
        #[cfg(feature = "cookies")]
        let stale = stale.filter(|_| head.extensions.get::<ForOneUser>().is_none());
        let recording = stale
            .as_deref()
            .and_then(StoreUse::read)
            .and_then(|read| read.record(head));
        if let Some(recording) = recording {
            body.tee(recording);
        }
    }
}

type ServedResponse<R> = Box<Response<DriverBody<R>>>;

/// Ready with a response from the store.
pub(super) fn served<R>(response: &mut Option<ServedResponse<R>>) -> Poll<NextStep<R>> {
    match response.take() {
        Some(response) => Poll::Ready(NextStep::Deliver(*response)),
        None => Poll::Pending,
    }
}

/// Statuses for which another response may stand in (RFC 5861 §4). 600 and above counts as 5xx (RFC 9110 §15).
fn is_server_error(status: StatusCode) -> bool {
    status.as_u16() >= 500
}

impl<N: Resend, R> Polling<'_, N, R> {
    /// Takes the next step of the call. A response may stand in for a failure.
    #[inline]
    pub(super) fn step_or_substitute<P, E>(
        &mut self,
        mut state: Pin<&mut DriverState<N::Future, R>>,
        cx: &mut Context<'_>,
    ) -> Poll<NextStep<R>>
    where
        N: Resend<Future: Future<Output = Result<P, E>>>,
        P: HttpResponse<Body = R>,
        E: Into<BoxError>,
        R: Body<Error: Into<BoxError>>,
    {
        let next = ready!(self.step(state.as_mut(), cx));
        Poll::Ready(match next {
            NextStep::Fail(failure) if self.run.has_substitute() => {
                // The future of the attempt is dropped before the call ends.
                state.set(DriverState::Done);
                self.run.conclude(failure)
            }
            next => next,
        })
    }
}
