//! From the beginning of a call to its end. Work on the call holds it open.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::{Call, CallInner};
use crate::clock::{self, nanos_of};
use crate::telemetry::{EventSpan, Span, Subject, end_call};

/// A function that is called with each call that has ended.
pub(crate) type Observer = Arc<dyn Fn(&Call) + Send + Sync>;

/// How long a call is open, and what is notified of its end.
pub(super) struct Lifecycle {
    /// When it ended, in nanoseconds since its start, plus one; 0 while it is open.
    ended: AtomicU64,
    /// The number of holds. At zero the call is over.
    holds: AtomicU32,
    /// Empty if nothing listens.
    listeners: OnceLock<Listeners>,
}

struct Listeners {
    /// `None` if it is disabled.
    span: Option<Mutex<Span>>,
    /// Taken at the end of the call: a timeline does not keep it.
    observer: Mutex<Option<Observer>>,
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
    /// Returns the span of this call. It is disabled if nothing listens, or after the call is over.
    pub(crate) fn span(&self) -> Span {
        self.live_span().unwrap_or_else(Span::none)
    }

    /// Returns the span of this call, if something listens.
    pub(crate) fn live_span(&self) -> Option<Span> {
        let span = self.0.lifecycle.listeners.get()?.span.as_ref()?.lock();
        let span = span.unwrap_or_else(PoisonError::into_inner).clone();
        Some(span).filter(|span| !span.is_disabled())
    }

    /// Returns the span for the events of policies: the call's own or, if it has none, the caller's.
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

    /// Sets the listeners. Without this, nothing listens.
    pub(crate) fn listen(&self, span: &Span, observer: Option<&Observer>) {
        if !span.is_disabled() || observer.is_some() {
            let listeners = Listeners {
                span: (!span.is_disabled()).then(|| Mutex::new(span.clone())),
                observer: Mutex::new(observer.cloned()),
            };
            let _ = self.0.lifecycle.listeners.set(listeners);
        }
    }

    /// Opens the call. It is over when the returned hold and all other holds of it are dropped.
    pub(crate) fn open(&self) -> Hold {
        Hold::of(self)
    }

    /// Holds a call open, if it is not over.
    pub(crate) fn hold(&self) -> Option<Hold> {
        let more = |holds: u32| (holds > 0).then_some(holds + 1);
        let holds = &self.0.lifecycle.holds;
        let held = holds.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        held.is_ok().then(|| Hold::of(self))
    }

    /// Ends the call. If it ended before, nothing changes.
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
        // Attempts may still run in tasks of their own: they end here, and nothing more is sent.
        self.cancel_open();
        let Some(listeners) = self.0.lifecycle.listeners.get() else {
            return;
        };
        if let Some(span) = &listeners.span {
            let span = replace(span, Span::none());
            if !span.is_disabled() {
                // A caller that goes away between two attempts is not a failure.
                let failed = self.failed().map(|failed| (failed, self.no_retry_reason()));
                end_call(&span, self.attempt_count(), failed);
            }
        }
        if let Some(observer) = replace(&listeners.observer, None) {
            observer(self);
        }
    }
}

/// A weak reference to a call.
#[derive(Clone)]
pub(crate) struct WeakCall(Weak<CallInner>);

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

/// Work on a call. The call is over when the last hold is dropped.
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

    /// Releases the call, for a caller that has just read the clock.
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

/// Replaces a value. The old one is used after the lock is released.
fn replace<T>(slot: &Mutex<T>, with: T) -> T {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *slot, with)
}
