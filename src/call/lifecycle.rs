//! From the beginning of a call to its end: what still works on it holds it open.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::{Call, Inner};
use crate::clock::{self, nanos_of};
use crate::telemetry::{EventSpan, Span, Subject, end_call};

/// Is told of calls that are over.
pub(crate) type Observer = Arc<dyn Fn(&Call) + Send + Sync>;

/// How long a call goes on, and what its end is told to.
pub(super) struct Lifecycle {
    /// When it ended, in nanoseconds since its start, and one more; 0 while it goes on.
    ended: AtomicU64,
    /// How many work on it; at none it is over.
    holds: AtomicU32,
    /// Empty where nothing listens.
    listeners: OnceLock<Listeners>,
}

struct Listeners {
    span: Mutex<Span>,
    observer: Option<Observer>,
}

impl Lifecycle {
    pub(super) const fn new() -> Self {
        Self {
            ended: AtomicU64::new(0),
            holds: AtomicU32::new(1),
            listeners: OnceLock::new(),
        }
    }
}

impl Call {
    /// The span of this call; disabled where nothing listens, and once the call is over.
    pub(crate) fn span(&self) -> Span {
        let listeners = self.0.lifecycle.listeners.get();
        listeners.map_or_else(Span::none, |listeners| {
            let span = listeners.span.lock();
            span.unwrap_or_else(PoisonError::into_inner).clone()
        })
    }

    /// The same, where something listens.
    pub(crate) fn live_span(&self) -> Option<Span> {
        self.0.lifecycle.listeners.get()?;
        Some(self.span()).filter(|span| !span.is_disabled())
    }

    /// What policies speak to: the span of this call or, where it has none, that of its caller.
    pub(crate) fn span_for_events(&self) -> Span {
        let span = self.span();
        if span.is_disabled() {
            return Span::current();
        }
        span
    }

    pub(crate) fn downgrade(&self) -> WeakCall {
        WeakCall(Arc::downgrade(&self.0))
    }

    /// Says what listens. Without a call to it, nothing does.
    pub(crate) fn listen(&self, span: &Span, observer: Option<&Observer>) {
        if !span.is_disabled() || observer.is_some() {
            let listeners = Listeners {
                span: Mutex::new(span.clone()),
                observer: observer.cloned(),
            };
            let _ = self.0.lifecycle.listeners.set(listeners);
        }
    }

    /// The call is over when what is returned is dropped, and all other holds of it.
    pub(crate) fn open(&self) -> Hold {
        Hold::of(self)
    }

    /// Keeps a call open that is not over.
    pub(crate) fn hold(&self) -> Option<Hold> {
        let more = |holds: u32| (holds > 0).then_some(holds + 1);
        let holds = &self.0.lifecycle.holds;
        let held = holds.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        held.is_ok().then(|| Hold::of(self))
    }

    /// The call is over; the first word on it counts.
    pub(crate) fn end(&self, now: Instant) {
        let after = nanos_of(now.saturating_duration_since(self.started()));
        let ended = &self.0.lifecycle.ended;
        let _ = ended.compare_exchange(0, after + 1, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn ended(&self) -> Option<Instant> {
        let after = self
            .0
            .lifecycle
            .ended
            .load(Ordering::Acquire)
            .checked_sub(1)?;
        Some(self.started() + Duration::from_nanos(after))
    }

    fn close(&self, now: Instant) {
        self.end(now);
        // An attempt in a task of its own may be under way: it ends here, and sends nothing any more.
        self.cancel_last();
        let Some(listeners) = self.0.lifecycle.listeners.get() else {
            return;
        };
        let span = {
            let mut span = listeners
                .span
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *span, Span::none())
        };
        if !span.is_disabled() {
            // A caller that goes away between two attempts is no failure.
            let failed = self.failed().map(|failed| (failed, self.not_repeated()));
            end_call(&span, self.attempt_count(), failed);
        }
        drop(span);
        if let Some(observer) = &listeners.observer {
            observer(self);
        }
    }
}

/// A call that is remembered, and not kept.
#[derive(Clone)]
pub(crate) struct WeakCall(Weak<Inner>);

impl WeakCall {
    pub(crate) fn upgrade(&self) -> Option<Call> {
        self.0.upgrade().map(Call)
    }
}

impl Subject for Call {
    fn started(&self) -> Instant {
        self.started()
    }

    fn route(&self) -> Option<&str> {
        self.route()
    }

    fn is_redirected(&self) -> bool {
        self.is_redirected()
    }

    fn span(&self) -> Span {
        self.span()
    }

    fn event_span(&self) -> Box<dyn EventSpan> {
        Box::new(self.downgrade())
    }
}

impl EventSpan for WeakCall {
    fn get(&self) -> Option<Span> {
        Some(self.upgrade()?.span_for_events())
    }
}

impl fmt::Debug for WeakCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakCall")
    }
}

/// Work on a call; when the last of it goes, the call is over.
pub(crate) struct Hold {
    call: Call,
    is_let_go: bool,
}

impl Hold {
    fn of(call: &Call) -> Self {
        Self {
            call: call.clone(),
            is_let_go: false,
        }
    }

    pub(crate) const fn call(&self) -> &Call {
        &self.call
    }

    /// Lets the call go, for a caller that has just read the clock.
    pub(crate) fn end(mut self, now: Instant) {
        self.let_go(|| now);
    }

    fn let_go(&mut self, now: impl FnOnce() -> Instant) {
        if std::mem::replace(&mut self.is_let_go, true) {
            return;
        }
        let lifecycle = &self.call.0.lifecycle;
        if lifecycle.holds.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.call.close(now());
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.let_go(clock::now);
    }
}
