//! Spans that are made in OpenTelemetry itself, without `tracing` in between.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, SpanId, TraceContextExt, Tracer};
use opentelemetry::{Context, ContextGuard};
use tokio::time::Instant;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::told::{Saying, Told};
use crate::clock;
use crate::telemetry::thread::is_alive;

/// Spans of calls straight in OpenTelemetry, for whoever pays by the microsecond: those of a pooled call take
/// less than half of what they take by way of `tracing` and its OpenTelemetry layer.
///
/// They are the same spans: names, attributes, events and links as in [`telemetry`](crate::telemetry). What
/// they hang below is the current span of OpenTelemetry, or the current one of `tracing` where its layer
/// exports that; and what is made below them through either finds them in turn, unless that layer was
/// told not to activate contexts. An attempt on a pooled connection is linked to its set-up without
/// another word; trace headers take a [`Propagator`](crate::telemetry::Propagator), here too: one that goes by the
/// current context, as [`TraceContext`](super::TraceContext) does, since it is handed no span of `tracing`. What
/// an attempt spawns takes the context along by OpenTelemetry's `with_current_context`.
///
/// `tracing` is told nothing of a call whose spans are made here: a log line within it does not say so.
///
/// Cheap to clone. It uses the tracer provider that is installed when it is made: one that is installed later
/// hears nothing.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::StandardLayer;
/// use sevenhops::telemetry::otel::{Spans, TraceContext};
///
/// # fn f() -> Result<(), sevenhops::SettingError> {
/// let layer = StandardLayer::new(Duration::from_secs(10))?
///     .spans(&Spans::global()) // after the application has installed its tracer provider
///     .propagator(TraceContext);
/// # drop(layer); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Spans(Arc<BoxedTracer>);

impl Spans {
    /// Spans of the global tracer provider.
    #[must_use]
    pub fn global() -> Self {
        Self(Arc::new(global::tracer("sevenhops")))
    }

    /// Opens a span below what is current.
    pub(crate) fn open(&self, at: Instant, name: Cow<'static, str>, told: Told) -> Direct {
        let below = current().unwrap_or_else(Context::current);
        // A call inside an operation, or inside another call, goes by the clocks of what it lies in.
        let clocks = AROUND.get().unwrap_or_else(Clocks::read);
        Direct::open((&self.0, clocks), &below, at, (name, told))
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").finish_non_exhaustive()
    }
}

/// The context of the span that is current, if one is: OpenTelemetry's or, where the layer for `tracing` keeps it
/// for itself, that one's.
fn current() -> Option<Context> {
    let here = Context::current();
    if here.has_active_span() {
        return Some(here);
    }
    let above = tracing::Span::current().context();
    let is_span = above.span().span_context().is_valid();
    is_span.then_some(above)
}

/// The clock of calls and that of the wall, read together: the spans of a call are as long as its timeline says.
#[derive(Clone, Copy)]
struct Clocks {
    at: Instant,
    wall: SystemTime,
}

/// What two readings lie apart if the thread was not put aside between them, with room to spare.
const TOGETHER: Duration = Duration::from_micros(20);

impl Clocks {
    fn read() -> Self {
        let read = || Self {
            at: clock::now(),
            wall: clock::wall(),
        };
        let mut clocks = read();
        for _ in 0..2 {
            if clock::now().saturating_duration_since(clocks.at) < TOGETHER {
                break;
            }
            clocks = read();
        }
        clocks
    }

    fn wall(&self, at: Instant) -> SystemTime {
        let wall = match at.checked_duration_since(self.at) {
            Some(later) => self.wall.checked_add(later),
            None => self.wall.checked_sub(self.at.saturating_duration_since(at)),
        };
        wall.unwrap_or(self.wall)
    }
}

/// A handle of such a span, which ends with its last handle if not before.
#[derive(Clone)]
pub(crate) struct Direct(Arc<Live>);

struct Live {
    tracer: Arc<BoxedTracer>,
    clocks: Clocks,
    context: Context,
    above: SpanId,
    /// Whether anybody wants to know what is said of it.
    is_recording: bool,
    is_over: AtomicBool,
}

impl Direct {
    fn open(
        (tracer, clocks): (&Arc<BoxedTracer>, Clocks),
        below: &Context,
        at: Instant,
        (name, told): (Cow<'static, str>, Told),
    ) -> Self {
        let builder = told.into_builder(name).with_start_time(clocks.wall(at));
        let span = tracer.build_with_context(builder, below);
        Self(Arc::new(Live {
            tracer: Arc::clone(tracer),
            clocks,
            is_recording: span.is_recording(),
            above: below.span().span_context().span_id(),
            context: below.with_span(span),
            is_over: AtomicBool::new(false),
        }))
    }

    /// Opens a span below this one.
    pub(crate) fn child(&self, at: Instant, name: Cow<'static, str>, told: Told) -> Self {
        let live = &*self.0;
        Self::open((&live.tracer, live.clocks), &live.context, at, (name, told))
    }

    /// Opens a span below what is current, if that lies below this one: where nothing is current, or only what
    /// was when this one was opened, or another trace (a task's own), it is below this one.
    pub(crate) fn within(&self, at: Instant, name: Cow<'static, str>, told: Told) -> Self {
        let live = &*self.0;
        let trace = self.address().trace_id();
        let lies_below = |current: &Context| {
            let span = current.span();
            let context = span.span_context();
            context.trace_id() == trace && context.span_id() != live.above
        };
        match current().filter(lies_below) {
            Some(current) => Self::open((&live.tracer, live.clocks), &current, at, (name, told)),
            None => self.child(at, name, told),
        }
    }

    /// A part of this one that is over, and that nothing hangs below.
    pub(crate) fn part(&self, name: &'static str, (begun, over): (Instant, Instant)) {
        let live = &*self.0;
        if live.is_recording {
            let builder = SpanBuilder::from_name(name).with_start_time(live.clocks.wall(begun));
            let mut span = live.tracer.build_with_context(builder, &live.context);
            span.end_with_timestamp(live.clocks.wall(over.max(begun)));
        }
    }

    /// Says more of it.
    pub(crate) fn record(&self, say: impl FnOnce(Saying<'_>) -> Saying<'_>) {
        if self.0.is_recording {
            say(Saying(self.0.context.span()));
        }
    }

    /// Leaves an event on it.
    pub(crate) fn event(&self, name: &'static str, told: impl FnOnce() -> Told) {
        if self.0.is_recording {
            let now = self.0.clocks.wall(clock::now());
            let span = self.0.context.span();
            span.add_event_with_timestamp(name, now, told().attributes);
        }
    }

    /// Makes it current on this thread.
    pub(crate) fn attach(&self) -> Attached {
        Attached {
            before: AROUND.replace(Some(self.0.clocks)),
            _context: self.0.context.clone().attach(),
        }
    }

    pub(crate) fn end(&self, at: Instant) {
        self.0.end(at);
    }

    /// What leads to it from elsewhere.
    pub(crate) fn address(&self) -> SpanContext {
        self.0.context.span().span_context().clone()
    }

    /// Ties it to one that came before.
    pub(crate) fn tie(&self, to: &SpanContext) {
        self.0.context.span().add_link(to.clone(), Vec::new());
    }
}

/// For as long as it is there, a span is current on this thread, and what is opened goes by its clocks.
pub(crate) struct Attached {
    before: Option<Clocks>,
    _context: ContextGuard,
}

impl Drop for Attached {
    fn drop(&mut self) {
        AROUND.set(self.before);
    }
}

thread_local! {
    static AROUND: Cell<Option<Clocks>> = const { Cell::new(None) };
}

impl Live {
    fn end(&self, at: Instant) {
        if self.is_over.swap(true, Ordering::Relaxed) {
            return;
        }
        let span = self.context.span();
        let id = span.span_context().span_id();
        // Whoever is told of the end may turn to the span that is current: not to one that is locked for that.
        let is_current = || Context::map_current(|cx| cx.span().span_context().span_id() == id);
        let _outside = (is_alive() && is_current()).then(|| Context::new().attach());
        span.end_with_timestamp(self.clocks.wall(at));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Whoever has its context still does not keep it going.
        if !*self.is_over.get_mut() {
            self.end(clock::now());
        }
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Direct").field(&self.address()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_tell_the_wall_time_of_what_was_before_and_after_they_were_read() {
        let clocks = Clocks::read();
        let second = Duration::from_secs(1);
        assert_eq!(clocks.wall(clocks.at + second), clocks.wall + second);
        let later = Clocks {
            at: clocks.at + second,
            ..clocks
        };
        assert_eq!(later.wall(clocks.at), clocks.wall - second);
    }
}
