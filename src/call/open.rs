//! From the beginning of a call to its end: whoever still works on it holds it open.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Call, Inner};
use crate::callback::{self, Site};
use crate::hop::Timeline;
use crate::telemetry::{Span, end_call};

/// Whoever wants to know of calls that are over.
pub(crate) type Observer = Arc<dyn Fn(&Timeline) + Send + Sync>;

/// Tells one more, after the one before.
pub(crate) fn also(
    before: Option<Observer>,
    site: Site,
    observe: impl Fn(&Timeline) + Send + Sync + 'static,
) -> Observer {
    let observe = move |timeline: &Timeline| callback::observe(&site, || observe(timeline));
    match before {
        None => Arc::new(observe),
        Some(before) => Arc::new(move |timeline| {
            before(timeline);
            observe(timeline);
        }),
    }
}

/// What the end of a call is told to.
pub(super) struct Ears {
    pub(super) span: Mutex<Span>,
    pub(super) observer: Option<Observer>,
}

impl Call {
    /// The span of this call; disabled where nobody listens, and once the call is over.
    pub(crate) fn span(&self) -> Span {
        let ears = self.0.ears.get();
        ears.map_or_else(Span::none, |ears| {
            let span = ears.span.lock();
            span.unwrap_or_else(PoisonError::into_inner).clone()
        })
    }

    /// What guards speak to: the span of this call or, where it has none, that of whoever called.
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

    /// Says who listens. Without a call to it, nobody does.
    pub(crate) fn listen(&self, span: Span, observer: Option<Observer>) {
        if !span.is_disabled() || observer.is_some() {
            let span = Mutex::new(span);
            let _ = self.0.ears.set(Ears { span, observer });
        }
    }

    /// The call is over when what is returned is dropped, and all other holds of it.
    pub(crate) fn open(&self) -> Hold {
        Hold(self.clone())
    }

    /// Keeps a call open that is not over.
    pub(crate) fn hold(&self) -> Option<Hold> {
        let more = |holds: u32| (holds > 0).then_some(holds + 1);
        let holds = &self.0.holds;
        let held = holds.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        held.is_ok().then(|| Hold(self.clone()))
    }

    fn close(&self) {
        self.end();
        // An attempt in a task of its own may be under way: it ends here, and sends nothing any more.
        if let Some(last) = self.last().filter(|last| last.ended().is_none()) {
            last.give_up();
            last.cancel();
        }
        let Some(ears) = self.0.ears.get() else {
            return;
        };
        let span = {
            let mut span = ears.span.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *span, Span::none())
        };
        end_call(&span, self);
        drop(span);
        if let Some(observer) = &ears.observer {
            observer(&self.timeline());
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

impl fmt::Debug for WeakCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakCall")
    }
}

/// Somebody works on a call; when the last one goes, the call is over.
pub(crate) struct Hold(Call);

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.0.holds.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.close();
        }
    }
}
