//! Spans that are created with the OpenTelemetry API, without `tracing` in between.

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

use super::attributes::{OtelAttributes, OtelSpan};
use crate::clock;
use crate::telemetry::thread::is_alive;

/// Creates the spans of calls directly with the OpenTelemetry API. Use it if the overhead of `tracing` matters. The
/// spans of a pooled call then cost less than half of their cost through `tracing` and its OpenTelemetry layer.
///
/// They are the same spans, with the names, attributes, events and links of [`telemetry`](crate::telemetry). Their
/// parent is the current span of OpenTelemetry, or the current span of `tracing` if its layer exports that. Spans that
/// either API creates below them find them as their parent, unless that layer is configured not to activate contexts.
/// An attempt on a pooled connection is always linked to the setup.
///
/// Trace headers still need a [`Propagator`](crate::telemetry::Propagator). It gets no `tracing` span, so it must read
/// the current context, as [`TraceContext`](super::TraceContext) does. A task that an attempt spawns gets the context
/// through OpenTelemetry's `with_current_context`.
///
/// `tracing` does not see the spans of such a call: a log line inside it does not show the call.
///
/// Cheap to clone. It uses the tracer provider that is installed at its creation, and ignores one that is installed
/// later.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::StandardLayer;
/// use sevenhops::telemetry::otel::{Spans, TraceContext};
///
/// # fn f() -> Result<(), sevenhops::ConfigError> {
/// let layer = StandardLayer::new(Duration::from_secs(10))?
///     .spans(&Spans::global()) // after the application has installed its tracer provider
///     .trace_propagator(TraceContext);
/// # drop(layer); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Spans(Arc<BoxedTracer>);

impl Spans {
    /// Returns spans of the global tracer provider.
    #[must_use]
    pub fn global() -> Self {
        Self(Arc::new(global::tracer("sevenhops")))
    }

    /// Opens a span below the current one.
    pub(crate) fn open(
        &self,
        at: Instant,
        name: Cow<'static, str>,
        told: OtelAttributes,
    ) -> Direct {
        let below = current().unwrap_or_else(Context::current);
        // A call inside another call or operation uses the clocks of the outer one.
        let clocks = AROUND.get().unwrap_or_else(Clocks::read);
        Direct::open((&self.0, clocks), &below, at, (name, told))
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").finish_non_exhaustive()
    }
}

/// Returns the context of the current span, if there is one: OpenTelemetry's, or that of `tracing` if its layer does
/// not activate contexts.
fn current() -> Option<Context> {
    let here = Context::current();
    if here.has_active_span() {
        return Some(here);
    }
    let above = tracing::Span::current().context();
    let is_span = above.span().span_context().is_valid();
    is_span.then_some(above)
}

/// The clock of calls and the wall clock, read together, so that the spans of a call are as long as in its timeline.
#[derive(Clone, Copy)]
struct Clocks {
    at: Instant,
    wall: SystemTime,
}

/// The greatest difference of two readings, with a margin, if the thread was not suspended between them.
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

/// A handle of such a span. The span ends with its last handle, if not before.
#[derive(Clone)]
pub(crate) struct Direct(Arc<Live>);

struct Live {
    tracer: Arc<BoxedTracer>,
    clocks: Clocks,
    context: Context,
    above: SpanId,
    /// Whether the span is recorded.
    is_recording: bool,
    is_over: AtomicBool,
}

impl Direct {
    fn open(
        (tracer, clocks): (&Arc<BoxedTracer>, Clocks),
        below: &Context,
        at: Instant,
        (name, told): (Cow<'static, str>, OtelAttributes),
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
    pub(crate) fn child(&self, at: Instant, name: Cow<'static, str>, told: OtelAttributes) -> Self {
        let live = &*self.0;
        Self::open((&live.tracer, live.clocks), &live.context, at, (name, told))
    }

    /// Opens a span below the current one, if that lies below this span. Otherwise opens it below this span. There are
    /// three such cases. There is no current span, it is the parent of this span, or it belongs to another trace (a
    /// task's own).
    pub(crate) fn within(
        &self,
        at: Instant,
        name: Cow<'static, str>,
        told: OtelAttributes,
    ) -> Self {
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

    /// Adds a finished child span that has no children.
    pub(crate) fn part(&self, name: &'static str, (begun, over): (Instant, Instant)) {
        let live = &*self.0;
        if live.is_recording {
            let builder = SpanBuilder::from_name(name).with_start_time(live.clocks.wall(begun));
            let mut span = live.tracer.build_with_context(builder, &live.context);
            span.end_with_timestamp(live.clocks.wall(over.max(begun)));
        }
    }

    /// Records more attributes.
    pub(crate) fn record(&self, say: impl FnOnce(OtelSpan<'_>) -> OtelSpan<'_>) {
        if self.0.is_recording {
            say(OtelSpan(self.0.context.span()));
        }
    }

    /// Adds an event.
    pub(crate) fn event(&self, name: &'static str, told: impl FnOnce() -> OtelAttributes) {
        if self.0.is_recording {
            let now = self.0.clocks.wall(clock::now());
            let span = self.0.context.span();
            span.add_event_with_timestamp(name, now, told().attributes);
        }
    }

    /// Makes the span current on this thread.
    pub(crate) fn attach(&self) -> Attached {
        Attached {
            before: AROUND.replace(Some(self.0.clocks)),
            _context: self.0.context.clone().attach(),
        }
    }

    pub(crate) fn end(&self, at: Instant) {
        self.0.end(at);
    }

    /// Returns the span context, to link or parent other spans.
    pub(crate) fn address(&self) -> SpanContext {
        self.0.context.span().span_context().clone()
    }

    /// Links the span to an earlier one.
    pub(crate) fn tie(&self, to: &SpanContext) {
        self.0.context.span().add_link(to.clone(), Vec::new());
    }
}

/// A guard: while it lives, the span is current on this thread, and new spans use its clocks.
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
        // A span processor that is called for the end may access the current span. So the current span must not be the
        // one that is locked here.
        let is_current = || Context::map_current(|cx| cx.span().span_context().span_id() == id);
        let _outside = (is_alive() && is_current()).then(|| Context::new().attach());
        span.end_with_timestamp(self.clocks.wall(at));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // A context that is still held elsewhere does not keep the span open.
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
