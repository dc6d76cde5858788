//! One attempt: its permit, its timeouts, and the record that names where it fails.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::due::{self, Progress, due, look_again};
use super::policies::Attempts;
use super::source::Source;
use crate::box_error::BoxError;
use crate::call::{Call, Follows};
use crate::clock;
use crate::destination::Destination;
use crate::diagnose::{Failure, View};
use crate::hop::{Diagnosis, FailureClass, Keyed, Said, effect_of_response};
use crate::limit::{Limits, Waited};
use crate::policy::Classified;
use crate::policy::breaker::{Admission, PendingVerdict};
use crate::propagation;
use crate::record::Tracker;
use crate::redact::redacted;
use crate::telemetry::{AttemptSpans, Span};
#[cfg(feature = "har")]
use crate::timeline::{keep_request, keep_response};

/// An attempt under way. Dropped before its end, it is judged by the time it had, and given up.
#[derive(Default)]
pub(super) struct Flight {
    // Judged first: what is open in the attempt tells where it hung.
    pub(super) admission: Option<Admission>,
    pub(super) attempt: Option<Attempt>,
}

impl Flight {
    /// The span to be entered while the attempt is polled, where something listens.
    pub(super) fn live_span(&self) -> Option<Span> {
        let spans = self.attempt.as_ref()?.tracker.spans();
        spans.are_on().then(|| spans.attempt())
    }

    /// Does something within the span of the attempt.
    #[inline]
    pub(super) fn within<T>(&self, what: impl FnOnce() -> T) -> T {
        match self.live_span() {
            Some(span) => {
                let _entered = span.enter();
                what()
            }
            None => what(),
        }
    }

    /// The record of the attempt, for the hooks below.
    pub(super) fn tracker(&self) -> Option<&Arc<Tracker>> {
        self.attempt.as_ref().map(|attempt| &attempt.tracker)
    }

    /// The attempt was answered: what follows the body, for the destination's sake and the record's.
    pub(super) fn deliver<R: Body>(
        &mut self,
        response: &Response<Source<R>>,
        (classified, now): (Classified, Instant),
    ) -> (Option<PendingVerdict>, Option<Watched>) {
        let is_over = response.body().is_end_stream();
        let is_here = matches!(response.body(), Source::Here { .. });
        let admission = self.admission.take();
        let verdict =
            admission.and_then(|admission| admission.head(response, (is_over, classified), now));
        let watched = self.attempt.take().map(|attempt| {
            // Where nothing is to come, it does not matter how long the caller keeps the head.
            if is_here || is_over && now < attempt.due().0 {
                attempt.tracker.finish_at(now);
            }
            let due::Span {
                start, deadline, ..
            } = attempt.span;
            let left = deadline.saturating_duration_since(start);
            let idle = attempt.tracker.limits().body_idle_within(left);
            (attempt.tracker, idle)
        });
        (verdict, watched)
    }

    /// The attempt failed: records it, and judges the destination.
    pub(super) fn fail(mut self, failure: &Failure, class: Option<FailureClass>) {
        if let Some(attempt) = self.attempt.take() {
            attempt.tracker.fail(failure.diagnosis());
        }
        if let Some(admission) = self.admission.take() {
            admission.fail(failure, class);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.admission = None;
        if let Some(attempt) = self.attempt.take() {
            attempt.tracker.give_up();
            attempt.tracker.cancel();
        }
    }
}

/// The record of an attempt whose body goes on, and how long that may be silent.
pub(super) type Watched = (Arc<Tracker>, Duration);

/// The timeouts and the record of an attempt.
pub(super) struct Attempt {
    pub(super) tracker: Arc<Tracker>,
    /// How long it may last.
    span: due::Span,
    /// The limits once a connection has taken the request: others, if none may follow it then.
    taken: Arc<Limits>,
    /// What the request's key is to the server.
    keyed: Keyed,
    /// Whether its method is safe (RFC 9110 §9.2.1).
    is_safe: bool,
}

impl Attempt {
    /// Begins an attempt, and writes into its request's head what goes along.
    pub(super) fn begin<B>(
        policy: &Attempts,
        (call, follows): (&Call, Follows),
        request: &mut Request<B>,
        now: Instant,
    ) -> Self {
        let left = call.deadline().saturating_duration_since(now);
        let limits = policy.limits(left, follows.unsent);
        let taken = match follows.unsent == follows.sent {
            true => Arc::clone(&limits),
            false => policy.limits(left, follows.sent),
        };
        let made = call.attempt_count();
        let mut spans = AttemptSpans::new(call, (request.method(), request.uri()), (made, now));
        if let Some(propagator) = &policy.propagator {
            spans.propagate(propagator, request.headers_mut());
            if call.is_redirected()
                && call.asked().uri().and_then(Destination::of) != Destination::of(request.uri())
            {
                request.headers_mut().remove(BAGGAGE);
            }
        }
        let tracker = Arc::new(Tracker::new(limits, spans, now));
        let method = Some(request.method()).filter(|method| Some(*method) != call.asked().method());
        let url = call.is_redirected().then(|| redacted(request.uri()));
        if method.is_some() || url.is_some() {
            tracker.facts(|facts| {
                facts.url = url;
                facts.method = method.cloned();
            });
        }
        let keyed = call.keyed(request.headers());
        call.attempt(Arc::clone(&tracker));
        if policy.propagating {
            let number = made.saturating_sub(call.attempts_before_leg()) + 1;
            propagation::write(request.headers_mut(), number, call.most_attempts(), left);
        }
        #[cfg(feature = "har")]
        keep_request(call, &tracker, request.headers());
        Self {
            tracker,
            span: due::Span {
                start: now,
                deadline: call.deadline(),
                follows,
            },
            taken,
            keyed,
            is_safe: request.method().is_safe(),
        }
    }

    /// The response head is here.
    pub(super) fn head<R>(&self, call: &Call, response: &Response<R>, now: Instant) {
        let status = response.status();
        if let Some(said) = Said::read(response.headers(), clock::wall) {
            self.tracker
                .facts(|facts| facts.said = Some(Box::new(said)));
        }
        #[cfg(feature = "har")]
        keep_response(call, &self.tracker, response.headers());
        let judged = Diagnosis::status(status, response.headers(), self.keyed);
        if judged.is_none() && !status.is_success() {
            let effect = effect_of_response(status, response.headers(), self.is_safe);
            self.tracker
                .facts(|facts| facts.is_declined = effect.is_declined());
        }
        let version = || self.tracker.facts(|facts| facts.version);
        self.tracker.spans().answered(status, version);
        self.tracker.head(status, judged, now);
        #[cfg(not(feature = "har"))]
        let _ = call;
    }

    fn progress(&self) -> Progress {
        let stage = self.tracker.open();
        Progress {
            stage,
            tracked: self.tracker.is_tracked(),
            taken: self.tracker.is_taken(),
            entered: stage.map_or_else(|| self.tracker.started(), |s| self.tracker.entered(s)),
            moved: self.tracker.moved(),
            sent_bytes: self.tracker.sent_bytes(),
        }
    }

    /// The limits that hold now.
    fn limits(&self, progress: &Progress) -> &Limits {
        match progress.taken || !progress.tracked {
            true => &self.taken,
            false => self.tracker.limits(),
        }
    }

    /// The timeout that passes next, and when, if nothing moves.
    pub(super) fn due(&self) -> (Instant, Waited) {
        let progress = self.progress();
        due(&progress, self.limits(&progress), &self.span)
    }

    /// Ready when a timeout has passed: which one.
    pub(super) fn poll_timeout(&self, alarm: &mut Alarm<'_>, cx: &mut Context<'_>) -> Poll<Waited> {
        let mut now = clock::now();
        self.tracker.waiting(now);
        loop {
            let progress = self.progress();
            let limits = self.limits(&progress);
            let (at, which) = due(&progress, limits, &self.span);
            if at <= now {
                return Poll::Ready(which);
            }
            let look = look_again(&progress, (limits, &self.taken), at, now);
            ready!(alarm.poll_at(look, cx));
            now = clock::now();
        }
    }

    /// A timeout passed: gives the attempt up.
    pub(super) fn expire(&self, which: Waited) -> Failure {
        self.tracker.give_up();
        Diagnosis::expired(Some(&self.tracker), which).into()
    }

    /// The service failed: gives the attempt up, and says where it was.
    pub(super) fn diagnose(&self, call: &Call, error: BoxError) -> Failure {
        self.tracker.give_up();
        let view = View {
            call: Some(call),
            record: Some(&self.tracker),
            head: None,
        };
        Failure::below(error, view)
    }
}

/// What the application says of itself and its user (W3C Baggage).
const BAGGAGE: &str = "baggage";
