use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use super::Settings;
use super::next::{Asked, Rules, next, prune};
use crate::call::{Call, redacted};
use crate::clock;
use crate::error::{BoxError, Error, Guard};
use crate::guard::drain::{DRAIN_TIME, Drain};
use crate::hop::{Diagnosis, Effect, Kind};
use crate::replay::{Empties, Saved};

pin_project! {
    /// The future of [`RedirectService`](super::RedirectService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R, C>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S::Future, R>,
        service: S,
        copies: C,
        way: Way<B>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, R> {
        Asking { #[pin] inner: F },
        Draining { #[pin] body: R, #[pin] until: Sleep },
        Readying,
        Done,
    }
}

/// The way of a call from URL to URL.
pub(super) struct Way<B> {
    /// None: redirects are not followed.
    settings: Option<Arc<Settings>>,
    call: Call,
    /// What was asked last; none where the retry below keeps it.
    saved: Option<Box<Saved<B>>>,
    keep: bool,
    /// What the legs so far may have done.
    effect: Effect,
    /// Where the call has been.
    visited: Vec<(Method, Uri)>,
    next: Option<Box<Following<B>>>,
}

/// The next leg, and what is drained before it.
struct Following<B> {
    request: Request<B>,
    drain: Drain,
}

impl<S, B, R, C> ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>>,
{
    /// The first leg is under way; `service` makes the others.
    pub(super) fn new(first: S::Future, way: Way<B>, (service, copies): (S, C)) -> Self {
        Self {
            state: State::Asking { inner: first },
            service,
            copies,
            way,
        }
    }
}

impl<S, B, R, C> Future for ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    C: Empties<B>,
    B: Send + 'static,
    R: Body,
{
    type Output = Result<Response<R>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let way = this.way;
        loop {
            match this.state.as_mut().project() {
                StateProjected::Asking { inner } => {
                    let response = match ready!(inner.poll(cx)) {
                        Ok(response) => response,
                        Err(error) => {
                            this.state.set(State::Done);
                            return Poll::Ready(Err(way.failed(error)));
                        }
                    };
                    match way.lead(&response, this.copies) {
                        Ok(true) => this.state.set(State::Draining {
                            body: response.into_body(),
                            until: sleep_until(clock::after(clock::now(), DRAIN_TIME)),
                        }),
                        Ok(false) => {
                            this.state.set(State::Done);
                            return Poll::Ready(Ok(response));
                        }
                        Err(error) => {
                            this.state.set(State::Done);
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                StateProjected::Draining { body, until } => {
                    if let Some(next) = way.next.as_deref_mut()
                        && next.drain.poll(body, cx).is_pending()
                    {
                        ready!(until.poll(cx));
                    }
                    this.state.set(State::Readying);
                }
                StateProjected::Readying => {
                    let ready = ready!(this.service.poll_ready(cx));
                    if let Err(error) = ready.map_err(|error| way.failed(error)) {
                        this.state.set(State::Done);
                        return Poll::Ready(Err(error));
                    }
                    let Some(next) = way.next.take() else {
                        return Poll::Pending;
                    };
                    let inner = this.service.call(next.request);
                    this.state.set(State::Asking { inner });
                }
                StateProjected::Done => return Poll::Pending,
            }
        }
    }
}

impl<B> Way<B> {
    pub(super) fn new(
        call: Call,
        settings: Option<Arc<Settings>>,
        saved: Option<Box<Saved<B>>>,
    ) -> Self {
        Self {
            settings,
            keep: saved.is_some(),
            saved,
            call,
            effect: Effect::None,
            visited: Vec::new(),
            next: None,
        }
    }
}

impl<B: Send + 'static> Way<B> {
    fn failed(&self, error: impl Into<BoxError>) -> Error {
        Error::of_inner(error, Some(&self.call)).of(&self.call)
    }

    /// Follows an answer, if it leads anywhere: whether there is a next leg.
    fn lead<R>(&mut self, response: &Response<R>, copies: &impl Empties<B>) -> Result<bool, Error> {
        let status = response.status();
        if !status.is_redirection() {
            return Ok(false);
        }
        let Some(settings) = self.settings.clone() else {
            return Ok(false);
        };
        let Some(mut saved) = self
            .saved
            .take()
            .or_else(|| self.call.reclaim().map(Box::new))
        else {
            return Ok(false);
        };
        // 307 and 308 say that the request belongs elsewhere; the others may have acted on it.
        if !saved.method.is_safe() && !matches!(status.as_u16(), 307 | 308) {
            self.effect = Effect::Possible;
        }
        let asked = Asked {
            method: &saved.method,
            uri: &saved.uri,
            status,
            replayable: saved.body.is_some(),
        };
        let leg = match next(&asked, response.headers()) {
            Ok(Some(leg)) => leg,
            Ok(None) => return Ok(false),
            Err(to) => return Err(self.refuse(Kind::RedirectRefused, status, &to)),
        };
        let keeps_body = leg.keeps_body(&asked);
        let is_away = leg.away || !keeps_body;
        self.visited.push((saved.method.clone(), saved.uri.clone()));
        if self
            .visited
            .contains(&(leg.method.clone(), leg.uri.clone()))
        {
            return Err(self.refuse(Kind::RedirectLoop, status, &leg.uri));
        }
        if self.visited.len() > settings.most as usize {
            return Err(self.refuse(Kind::TooManyRedirects, status, &leg.uri));
        }
        let rules = Rules {
            kept: &settings.keep_across_origins,
            key: self.call.key().map(|mark| &mark.name),
        };
        prune(&mut saved.headers, &leg, keeps_body, &rules);
        if !keeps_body {
            saved.body = Some(copies.empty());
        }
        (saved.method, saved.uri) = (leg.method, leg.uri);
        let Some(request) = saved.again(&self.call, copies) else {
            return Ok(false);
        };
        self.call.redirected(status, (&saved.uri, is_away));
        self.next = Some(Box::new(Following {
            request,
            drain: Drain::default(),
        }));
        self.saved = self.keep.then_some(saved);
        Ok(true)
    }

    fn refuse(&self, kind: Kind, status: StatusCode, to: &Uri) -> Error {
        let mut diagnosis = Diagnosis::refusal(kind);
        diagnosis.effect = self.call.effect().max(self.effect);
        let why = Refused {
            status,
            to: redacted(to),
            after: self.visited.len(),
        };
        Error::refused(Guard::Redirect, diagnosis)
            .because(why)
            .of(&self.call)
    }
}

/// What led to the refusal of a redirect.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    to: String,
    after: usize,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {} leads to {}", self.status.as_u16(), self.to)?;
        match self.after {
            0 => Ok(()),
            1 => f.write_str(", after 1 request"),
            requests => write!(f, ", after {requests} requests"),
        }
    }
}

impl std::error::Error for Refused {}

impl<S, B, R, C> fmt::Debug for ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
