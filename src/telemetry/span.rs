//! A span of this crate: a `tracing` span, or an OpenTelemetry span if the application chose that.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;

#[cfg(feature = "otel")]
use super::otel::{Attached, Direct, Spans};
use super::thread;

/// The target for a subscriber's filter: `sevenhops=info`.
pub(super) const TARGET: &str = "sevenhops";

/// The API that creates the spans of a call.
#[derive(Clone, Debug)]
pub(crate) enum Maker {
    Tracing,
    #[cfg(feature = "otel")]
    Direct(Spans),
}

/// A handle of a span.
#[derive(Clone, Debug)]
pub(crate) enum Span {
    Tracing(tracing::Span),
    #[cfg(feature = "otel")]
    Direct(Direct),
}

impl Span {
    /// Returns a disabled span.
    pub(crate) const fn none() -> Self {
        Self::Tracing(tracing::Span::none())
    }

    /// Returns the current `tracing` span of the thread.
    pub(crate) fn current() -> Self {
        Self::Tracing(tracing::Span::current())
    }

    /// Returns whether the span is disabled and has no children.
    pub(crate) fn is_disabled(&self) -> bool {
        match self {
            Self::Tracing(span) => span.is_disabled(),
            #[cfg(feature = "otel")]
            Self::Direct(_) => false,
        }
    }

    /// Returns the `tracing` span.
    pub(super) fn in_tracing(&self) -> tracing::Span {
        match self {
            Self::Tracing(span) => span.clone(),
            #[cfg(feature = "otel")]
            Self::Direct(_) => tracing::Span::none(),
        }
    }

    /// Enters the span: spans that are created meanwhile are its children.
    pub(crate) fn enter(&self) -> Entered<'_> {
        let entered = match self {
            Self::Tracing(span) => Entered {
                _in_tracing: Some(span.enter()),
                #[cfg(feature = "otel")]
                _attached: None,
            },
            #[cfg(feature = "otel")]
            Self::Direct(span) => Entered {
                _in_tracing: None,
                _attached: Some(span.attach()),
            },
        };
        if !self.is_disabled() {
            thread::watch();
        }
        entered
    }

    /// Runs a function inside the span.
    #[cfg(feature = "client")]
    pub(crate) fn in_scope<T>(&self, what: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        what()
    }

    /// Polls a future inside the span, and drops it there.
    pub(crate) fn around<F: Future>(self, future: F) -> Within<F> {
        Within {
            future: Some(future),
            span: self,
        }
    }

    /// Ends the span now, not with its last handle. (OpenTelemetry's layer for `tracing` sets the end to the last exit
    /// of the span, which may be earlier than the end of its children.)
    pub(super) fn end(&self, at: Instant) {
        match self {
            Self::Tracing(_) => {
                let _ = at;
                drop(self.enter_if_possible());
            }
            #[cfg(feature = "otel")]
            Self::Direct(span) => span.end(at),
        }
    }

    /// Ends the span now, together with this handle.
    pub(super) fn close(self, at: Instant) {
        match self {
            Self::Tracing(span) => {
                let _ = at;
                drop(span);
            }
            #[cfg(feature = "otel")]
            Self::Direct(span) => span.end(at),
        }
    }

    /// Enters the span, unless the thread may be ending: then entering would panic.
    fn enter_if_possible(&self) -> Option<Entered<'_>> {
        (!self.is_disabled() && thread::is_alive()).then(|| self.enter())
    }
}

/// A guard: while it lives, its thread is inside a span.
pub(crate) struct Entered<'s> {
    _in_tracing: Option<tracing::span::Entered<'s>>,
    #[cfg(feature = "otel")]
    _attached: Option<Attached>,
}

pin_project! {
    /// A future that is polled and dropped inside a span.
    pub(crate) struct Within<F> {
        #[pin]
        future: Option<F>,
        span: Span,
    }

    impl<F> PinnedDrop for Within<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.span.enter_if_possible();
            this.future.set(None);
        }
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        match this.future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}
