//! The response body of a driver. The last bytes of a call are received under its timeouts.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::attempt::Watched;
use super::passed::Passed;
use super::scope::Scope;
use super::source::BodySource;
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::{AttemptFailure, Edge, View};
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Stage, effect_of_grpc, grpc_code};
use crate::policy::breaker::PendingVerdict;
use crate::policy::stale::Recording;
use crate::record::Tracker;
use crate::telemetry::Span;
use crate::timeline::Timeline;
use crate::timeout::TimeoutKind;

pin_project! {
    /// The response body of [`Driver`](super::Driver). It is still being received, or it is complete, or it is the kept
    /// beginning of a response whose retry did not happen.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the call with the bytes delivered so far. If the reader was waiting for more, the receive
    /// stage is abandoned. The connection is closed unless the whole body had come.
    pub struct DriverBody<R> {
        #[pin]
        source: BodySource<R>,
        watch: Option<BodyWatch>,
        // Judged after the attempt has ended.
        verdict: Option<PendingVerdict>,
        // The permit of the concurrency limit, to the last byte.
        passed: Option<Box<Passed>>,
        alarm: Option<Pin<Box<Sleep>>>,
        // Dropped last: the call ends after its parts.
        scope: Option<Scope>,
        // The effect that the response head gave.
        effect: Effect,
        timeline: Timeline,
        // Whether its pieces count after the deadline, too: it stands in for a response that failed.
        is_never_late: bool,
    }
}

/// Marks a response, in its extensions, whose body was only partly kept. A retry was planned, and then did not
/// happen. The body fails where the kept part ends.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Truncated;

/// Watches a body that belongs to an attempt of this driver.
pub(super) struct BodyWatch {
    tracker: Arc<Tracker>,
    /// How long the body may be silent.
    idle: Duration,
    /// Whether the reader waits for more. If the reader is dropped while it waits, the body is abandoned. Otherwise it
    /// has all that it needs.
    is_waited_for: bool,
}

impl<R> DriverBody<R> {
    /// Returns whether the whole body is in memory.
    pub(super) const fn is_here(&self) -> bool {
        matches!(self.source, BodySource::Here { .. })
    }

    pub(super) const fn new(source: BodySource<R>, effect: Effect, timeline: Timeline) -> Self {
        Self {
            source,
            watch: None,
            verdict: None,
            passed: None,
            alarm: None,
            scope: None,
            effect,
            timeline,
            is_never_late: false,
        }
    }

    /// Delivers the pieces after the deadline, too.
    pub(super) fn never_is_late(&mut self) {
        self.is_never_late = true;
    }

    /// Receives the body as part of an attempt. The end of the body decides the verdict about the destination.
    pub(super) fn belongs_to(
        &mut self,
        attempt: Option<Watched>,
        verdict: Option<PendingVerdict>,
        passed: Option<Box<Passed>>,
    ) {
        self.watch = attempt.map(|(tracker, idle)| BodyWatch {
            tracker,
            idle,
            is_waited_for: false,
        });
        self.verdict = verdict;
        self.passed = passed;
    }

    /// Records the body for the store while it is read. A body that is here is stored at once.
    pub(super) fn tee(&mut self, recording: Recording) {
        let source = std::mem::replace(&mut self.source, BodySource::Over);
        self.source = source.teed(recording);
    }

    /// Returns the effect that the response head gave.
    pub(super) const fn effect(&self) -> Effect {
        self.effect
    }

    /// Ends the call with the end of the body.
    pub(super) fn ends(&mut self, scope: Option<Scope>) {
        self.scope = scope;
    }

    /// Returns the timeline of the call so far.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }
}

impl<R> Body for DriverBody<R>
where
    R: Body,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut this = self.project();
        let is_here = matches!(*this.source, BodySource::Here { .. });
        let mut reading = Reading {
            watch: this.watch,
            verdict: this.verdict,
            scope: this.scope,
            effect: *this.effect,
            timeline: this.timeline,
            is_here,
            is_in_time: *this.is_never_late || is_here,
        };
        let span = reading
            .scope
            .as_ref()
            .and_then(|scope| scope.call().live_span());
        let entered = span.as_ref().map(Span::enter);
        if matches!(*this.source, BodySource::Over) {
            return Poll::Ready(None);
        }
        let frame = this.source.as_mut().poll_frame(cx);
        reading.wait_for_more(frame.is_pending());
        let now = clock::now();
        let read = match frame {
            Poll::Ready(frame) => reading.read(frame, now),
            Poll::Pending => {
                let which = ready!(reading.poll_timeout((this.alarm, now), cx));
                Some(Err(reading.expire(which)))
            }
        };
        let is_last = matches!(read, Some(Ok(_))) && this.source.is_end_stream();
        if is_last {
            reading.end_verdict(now);
            *this.passed = None;
        }
        // After the last piece it does not matter how long the caller keeps the body.
        let read = match read {
            Some(Ok(frame)) if !(is_last && reading.scope.is_some()) => {
                return Poll::Ready(Some(Ok(frame)));
            }
            read => read,
        };
        drop(entered);
        drop(span);
        // A piece that comes too late is discarded, and its connection is closed.
        this.source.set(BodySource::Over);
        let read = read.map(|read| read.map_err(|failure| reading.fail(failure)));
        if let Some(watch) = reading.watch.take() {
            watch.tracker.finish_at(now);
        }
        *reading.verdict = None;
        *this.passed = None;
        if let Some(scope) = reading.scope.take() {
            scope.end(now);
        }
        Poll::Ready(read)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

/// The facts that are recorded for each piece.
struct Reading<'a> {
    watch: &'a mut Option<BodyWatch>,
    verdict: &'a mut Option<PendingVerdict>,
    scope: &'a mut Option<Scope>,
    effect: Effect,
    timeline: &'a Timeline,
    /// Whether the whole body is in memory.
    is_here: bool,
    /// Whether the piece counts, whatever the time is: it came before the deadline and is in memory, or it stands in.
    is_in_time: bool,
}

/// Created when the body waits for a piece for the first time.
type Alarm = Option<Pin<Box<Sleep>>>;

impl Reading<'_> {
    fn wait_for_more(&mut self, waits: bool) {
        if let Some(watch) = self.watch {
            watch.is_waited_for = waits;
        }
        if let Some(verdict) = self.verdict {
            verdict.wait_for_more(waits);
        }
        if let Some(scope) = self.scope {
            scope.call().wait_for_more(waits);
        }
    }

    fn read(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BoxError>>,
        now: Instant,
    ) -> Option<Result<Frame<Bytes>, AttemptFailure>> {
        match frame {
            Some(Ok(frame)) => {
                // The bytes of a body that was received within the attempt are counted already.
                if let Some(watch) = self.watch.as_ref().filter(|_| !self.is_here) {
                    watch
                        .tracker
                        .received(frame.data_ref().map_or(0, Bytes::len), now);
                }
                if let Some(trailers) = frame.trailers_ref()
                    && grpc_code(trailers, None).is_some()
                {
                    self.show(effect_of_grpc(trailers, None));
                }
                let late = |scope: &&Scope| !self.is_in_time && scope.is_late(now);
                match self.scope.as_ref().filter(late) {
                    Some(scope) => Some(Err(scope.expire())),
                    None => Some(Ok(frame)),
                }
            }
            Some(Err(error)) => Some(Err(self.broke_off(error))),
            None => {
                if let Some(watch) = &self.watch {
                    watch.tracker.finish_at(now);
                }
                self.end_verdict(now);
                None
            }
        }
    }

    /// Records the effect that the code in the trailers shows.
    fn show(&self, effect: Effect) {
        match (&self.watch, &self.scope) {
            (Some(watch), _) => {
                // A handler that sent messages had begun its work.
                let least = match watch.tracker.received_bytes() {
                    0 => Effect::None,
                    _ => Effect::Possible,
                };
                let effect = effect.max(least);
                watch
                    .tracker
                    .facts(|facts| facts.by_code = facts.by_code.map(|_| effect));
            }
            (None, Some(scope)) => scope.call().show_by_trailers(effect),
            (None, None) => {}
        }
    }

    fn end_verdict(&mut self, now: Instant) {
        if let Some(verdict) = self.verdict {
            verdict.end(now);
        }
    }

    /// Returns the failure of a body that broke off.
    fn broke_off(&self, error: BoxError) -> AttemptFailure {
        let view = View {
            call: Some(&self.timeline.0),
            record: self.watch.as_ref().map(|watch| &*watch.tracker),
            head: Some(self.effect),
        };
        AttemptFailure::below(error, view)
    }

    /// Returns when the wait for the next piece ends, and by which timeout.
    fn due(&self) -> Option<(Instant, TimeoutKind)> {
        let idle = self.watch.as_ref().map(|BodyWatch { tracker, idle, .. }| {
            let since = tracker.moved().max(tracker.entered(Stage::Receive));
            let due = clock::after(since, *idle);
            (due, TimeoutKind::BodyIdle)
        });
        let scope = self.scope.as_ref();
        let scope = scope.filter(|scope| !scope.call().options().streaming);
        let deadline = scope.map(|scope| (scope.call().deadline(), TimeoutKind::Deadline));
        idle.into_iter().chain(deadline).min_by_key(|(at, _)| *at)
    }

    /// Ready when no piece has come for too long.
    fn poll_timeout(
        &self,
        (alarm, mut now): (&mut Alarm, Instant),
        cx: &mut Context<'_>,
    ) -> Poll<TimeoutKind> {
        loop {
            let Some((due, which)) = self.due() else {
                return Poll::Pending;
            };
            if due <= now {
                return Poll::Ready(which);
            }
            let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if alarm.is_elapsed() || alarm.deadline() > due {
                alarm.as_mut().reset(due);
            }
            ready!(alarm.as_mut().poll(cx));
            now = clock::now();
        }
    }

    fn expire(&self, which: TimeoutKind) -> AttemptFailure {
        match (&self.watch, &self.scope) {
            (Some(watch), _) => {
                watch.tracker.give_up();
                Diagnosis::timeout_kind(Some(&watch.tracker), which).into()
            }
            (None, Some(scope)) => scope.expire(),
            (None, None) => Diagnosis::timeout_kind(None, which).into(),
        }
    }

    /// Fails the body, and settles everything that waited for its end.
    fn fail(&mut self, failure: AttemptFailure) -> Error {
        let diagnosis = failure.diagnosis();
        if let Some(watch) = self.watch {
            watch.tracker.fail(diagnosis);
        }
        if let Some(verdict) = self.verdict {
            verdict.fail(&diagnosis);
        }
        match self.scope {
            Some(scope) => scope.fail(failure, Effect::None),
            None => {
                let edge = Edge {
                    call: &self.timeline.0,
                    from: self.timeline.0.since_now(),
                    // Includes the effect of the attempts before this response.
                    seen: self.effect,
                };
                Error::at_edge(edge, failure)
            }
        }
    }
}

impl Drop for BodyWatch {
    fn drop(&mut self) {
        match self.is_waited_for {
            true => self.tracker.cancel(),
            false => self.tracker.finish(),
        }
    }
}

impl<R> fmt::Debug for DriverBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverBody")
            .field("timeline", &self.timeline)
            .finish_non_exhaustive()
    }
}
