//! One attempt: its permit, its timeouts, and the record that names where it fails.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::passed::Passed;
use super::policies::Attempts;
use super::source::BodySource;
use super::timeouts::{self, Progress, due, look_again};
use crate::box_error::BoxError;
use crate::call::{Call, Follows};
use crate::clock;
use crate::destination::{Destination, OtherOrigin};
use crate::diagnose::{AttemptFailure, View};
use crate::hop::{
    Diagnosis, FailureClass, Keyed, ServerReport, effect_of_grpc, effect_of_response, is_grpc,
};
use crate::policy::Classified;
use crate::policy::breaker::{Admission, Allotted, PendingVerdict};
use crate::propagation;
use crate::record::Tracker;
use crate::redact::redacted;
use crate::telemetry::{AttemptSpans, Span};
#[cfg(feature = "har")]
use crate::timeline::{keep_request, keep_response};
use crate::timeout::{TimeoutKind, Timeouts};

/// An attempt in flight. If it is dropped before its end, the attempt is given up, and the breaker judges it by the
/// time it had.
#[derive(Default)]
pub(super) struct AttemptInFlight {
    // Dropped first: the breaker reads the open stage, to know where the attempt hung.
    pub(super) admission: Option<Admission>,
    pub(super) attempt: Option<ActiveAttempt>,
    /// The call, if this attempt has no record. Nothing else knows of it if it is dropped.
    pub(super) unrecorded: Option<Call>,
    /// The number of records of the call when this attempt began.
    pub(super) records_before: usize,
    /// Whether the attempts are those of a driver of the same client below.
    pub(super) is_left: bool,
    // Dropped last: then the next call may be sent.
    pub(super) passed: Option<Box<Passed>>,
}

impl AttemptInFlight {
    /// Returns the span to enter while the attempt is polled, if it has a subscriber.
    pub(super) fn live_span(&self) -> Option<Span> {
        let spans = self.attempt.as_ref()?.tracker.spans();
        spans.are_on().then(|| spans.attempt())
    }

    /// Runs a function within the span of the attempt.
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

    /// Returns the record of the attempt, for the hooks below.
    pub(super) fn tracker(&self) -> Option<&Arc<Tracker>> {
        self.attempt.as_ref().map(|attempt| &attempt.tracker)
    }

    /// Handles a response. Returns the verdict that waits for the end of the body. Also returns the record and the
    /// permit of the concurrency limit, which are kept until then.
    pub(super) fn deliver<R: Body>(
        &mut self,
        response: &Response<BodySource<R>>,
        (classified, now): (Classified, Instant),
    ) -> Delivered {
        let is_over = response.body().is_end_stream();
        let is_here = matches!(response.body(), BodySource::Here { .. });
        self.unrecorded = None;
        let mut passed = self.passed.take();
        if let Some(passed) = &mut passed {
            passed.head(response, classified, now);
        }
        let passed = passed.filter(|_| !is_here && !is_over);
        let admission = self.admission.take();
        let verdict =
            admission.and_then(|admission| admission.head(response, (is_over, classified), now));
        let watched = self.attempt.take().map(|attempt| {
            // If no bytes are left to receive, it does not matter how long the caller keeps the head.
            if is_here || is_over && now < attempt.due().0 {
                attempt.tracker.finish_at(now);
            }
            let idle = attempt.tracker.timeouts().body_idle_within(attempt.left);
            (attempt.tracker, idle)
        });
        (verdict, watched, passed)
    }

    /// Handles a failure: records it, and judges the destination.
    pub(super) fn fail(mut self, failure: &AttemptFailure, class: Option<FailureClass>) {
        self.unrecorded = None;
        let attempt = self.attempt.take();
        let had_its_time = match &attempt {
            Some(attempt) => attempt.had_its_time(failure.diagnosis().timeout_kind),
            None => had_its_time_below(failure),
        };
        if let Some(attempt) = attempt {
            attempt.tracker.fail(failure.diagnosis());
        }
        if let Some(admission) = self.admission.take() {
            admission.fail(failure, class);
        }
        if let Some(passed) = self.passed.take() {
            let said = (class, failure.retry_after());
            passed.fail(&failure.diagnosis(), said, had_its_time);
        }
    }
}

impl Drop for AttemptInFlight {
    fn drop(&mut self) {
        self.admission = None;
        if let Some(attempt) = self.attempt.take() {
            attempt.tracker.give_up();
            attempt.tracker.cancel();
        }
        if let Some(call) = self.unrecorded.take() {
            // Before its first attempt, the driver below has sent nothing.
            if !self.is_left || call.has_record() {
                call.lost_sight(self.records_before);
            }
        }
    }
}

/// Returns whether a driver below gave its attempt the time that the config gives it.
fn had_its_time_below(failure: &AttemptFailure) -> bool {
    failure.call().is_none_or(|call| {
        let (record, which) = (call.last(), failure.diagnosis().timeout_kind);
        let allotted = Allotted::of((call.deadline(), record.as_deref()), call.started(), which);
        allotted.is_whole(None)
    })
}

/// The parts of an attempt that wait for the end of the body.
pub(super) type Delivered = (Option<PendingVerdict>, Option<Watched>, Option<Box<Passed>>);

/// The record of an attempt whose body is still received, and how long the body may be silent.
pub(super) type Watched = (Arc<Tracker>, Duration);

/// The timeouts and the record of an attempt.
pub(super) struct ActiveAttempt {
    pub(super) tracker: Arc<Tracker>,
    /// The time that the call had left when the attempt began.
    left: Duration,
    /// Which attempts may follow this one.
    follows: Follows,
    /// The timeouts that apply once a connection has taken the request, if they differ: no attempt may follow from then
    /// on.
    taken: Option<Arc<Timeouts>>,
    /// Whether the request carries a key, and whether the server honors it.
    keyed: Keyed,
    /// Whether its method is safe (RFC 9110 §9.2.1).
    is_safe: bool,
}

impl ActiveAttempt {
    /// Begins an attempt, and writes propagation headers into the request's head.
    pub(super) fn begin<B>(
        policy: &Attempts,
        (call, follows): (&Call, Follows),
        request: &mut Request<B>,
        now: Instant,
    ) -> Self {
        let whole = call.whole_time();
        let left = match now == call.started() {
            true => whole,
            false => call.deadline().saturating_duration_since(now),
        };
        let timeouts = policy.timeouts((left, whole), follows.unsent);
        let differs = follows.unsent != follows.sent;
        let taken = differs.then(|| policy.timeouts((left, whole), follows.sent));
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
        let tracker = Arc::new(Tracker::new(timeouts, spans, now));
        let method = Some(request.method()).filter(|method| Some(*method) != call.asked().method());
        let url = call.is_redirected().then(|| redacted(request.uri()));
        if method.is_some() || url.is_some() {
            tracker.facts(|facts| {
                facts.is_redirected = url.is_some();
                facts.url = url;
                facts.method = method.cloned();
            });
        }
        if request.extensions().get::<OtherOrigin>().is_some() {
            tracker.facts(|facts| facts.is_led_away = true);
        }
        if let Some(affinity) = call.options().affinity {
            let session = Some(Box::new(call.session(affinity)));
            tracker.facts(|facts| facts.session = session);
        }
        let keyed = call.keyed(request.headers());
        call.attempt(Arc::clone(&tracker));
        if policy.propagate_deadline {
            let number = made.saturating_sub(call.attempts_before_leg()) + 1;
            propagation::write(request.headers_mut(), number, call.most_attempts(), left);
        }
        #[cfg(feature = "har")]
        keep_request(call, &tracker, request.headers());
        Self {
            tracker,
            left,
            follows,
            taken,
            keyed,
            is_safe: request.method().is_safe(),
        }
    }

    /// Follows a new answer to the question which attempts may follow this one.
    pub(super) fn follow(&mut self, (policy, call): (&Attempts, &Call), follows: Follows) {
        self.follows = follows;
        let times = (self.left, call.whole_time());
        self.taken = Some(policy.timeouts(times, follows.sent));
    }

    /// Records the response head.
    pub(super) fn head<R>(&self, call: &Call, response: &Response<R>, now: Instant) {
        let status = response.status();
        if let Some(said) = ServerReport::read(response.headers(), clock::wall) {
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
        if status.is_success() && is_grpc(response.headers()) {
            let effect = effect_of_grpc(response.headers(), None);
            self.tracker.facts(|facts| facts.by_code = Some(effect));
        }
        let version = || self.tracker.facts(|facts| facts.version);
        self.tracker.spans().answered(status, version);
        self.tracker.head(status, judged, now);
        #[cfg(not(feature = "har"))]
        let _ = call;
    }

    /// Returns how long the attempt may last.
    fn span(&self) -> timeouts::Span {
        let start = self.tracker.started();
        timeouts::Span {
            start,
            deadline: clock::after(start, self.left),
            follows: self.follows,
        }
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

    /// Returns the current timeouts.
    fn timeouts(&self, progress: &Progress) -> &Timeouts {
        match progress.taken || !progress.tracked {
            true => self.timeouts_once_taken(),
            false => self.tracker.timeouts(),
        }
    }

    fn timeouts_once_taken(&self) -> &Timeouts {
        let own = self.taken.as_deref();
        own.unwrap_or_else(|| self.tracker.timeouts())
    }

    /// Returns the timeout that expires next if no byte moves, and when.
    pub(super) fn due(&self) -> (Instant, TimeoutKind) {
        let progress = self.progress();
        due(&progress, self.timeouts(&progress), &self.span())
    }

    /// Ready when a timeout has expired. Returns which one.
    pub(super) fn poll_timeout(
        &self,
        alarm: &mut Alarm<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<TimeoutKind> {
        let mut now = clock::now();
        self.tracker.waiting(now);
        let span = self.span();
        loop {
            let progress = self.progress();
            let timeouts = self.timeouts(&progress);
            let (at, which) = due(&progress, timeouts, &span);
            if at <= now {
                return Poll::Ready(which);
            }
            let look = look_again(&progress, (timeouts, self.timeouts_once_taken()), at, now);
            ready!(alarm.poll_at(look, cx));
            now = clock::now();
        }
    }

    /// Returns whether the request left the attempt the time that the config gives it, or an explicit timeout ran out.
    fn had_its_time(&self, which: Option<TimeoutKind>) -> bool {
        let timeouts::Span {
            start, deadline, ..
        } = self.span();
        Allotted::of((deadline, Some(&self.tracker)), start, which).is_whole(None)
    }

    /// Gives the attempt up after a timeout.
    pub(super) fn expire(&self, which: TimeoutKind) -> AttemptFailure {
        self.tracker.give_up();
        Diagnosis::timeout_kind(Some(&self.tracker), which).into()
    }

    /// Gives the attempt up after an error of the service, and returns where it failed.
    pub(super) fn diagnose(&self, call: &Call, error: BoxError) -> AttemptFailure {
        self.tracker.give_up();
        let view = View {
            call: Some(call),
            record: Some(&self.tracker),
            head: None,
        };
        AttemptFailure::below(error, view)
    }
}

/// The header for data that the application passes on to other services (W3C Baggage).
const BAGGAGE: &str = "baggage";
