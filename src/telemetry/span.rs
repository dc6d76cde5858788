//! A span of ours: one of `tracing`'s or, where the application asked for that, one of OpenTelemetry's own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;

#[cfg(feature = "otel")]
use super::otel::{Attached, Direct, Spans};
use super::thread;

/// By which a subscriber's filter finds what is ours: `sevenhops=info`.
pub(super) const TARGET: &str = "sevenhops";

/// Who makes the spans of a call.
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
    /// One that nobody listens to.
    pub(crate) const fn none() -> Self {
        Self::Tracing(tracing::Span::none())
    }

    /// What the thread is in, as `tracing` has it.
    pub(crate) fn current() -> Self {
        Self::Tracing(tracing::Span::current())
    }

    /// Whether nobody listens, and nothing hangs below it.
    pub(crate) fn is_disabled(&self) -> bool {
        match self {
            Self::Tracing(span) => span.is_disabled(),
            #[cfg(feature = "otel")]
            Self::Direct(_) => false,
        }
    }

    /// The one that `tracing` knows.
    pub(super) fn in_tracing(&self) -> tracing::Span {
        match self {
            Self::Tracing(span) => span.clone(),
            #[cfg(feature = "otel")]
            Self::Direct(_) => tracing::Span::none(),
        }
    }

    /// Enters it: what is made meanwhile is part of it.
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

    /// Does something within it.
    #[cfg(feature = "client")]
    pub(crate) fn in_scope<T>(&self, what: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        what()
    }

    /// Polls a future within it, and drops it there.
    pub(crate) fn around<F: Future>(self, future: F) -> Within<F> {
        Within {
            future: Some(future),
            span: self,
        }
    }

    /// It ends now, and not with its last handle. (OpenTelemetry's layer for `tracing` takes the moment at
    /// which a span was last left for its end, and that may lie before those of its parts.)
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

    /// It ends now, with this handle.
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

    /// Enters it, unless the thread may be ending: then it would panic.
    fn enter_if_possible(&self) -> Option<Entered<'_>> {
        (!self.is_disabled() && thread::is_alive()).then(|| self.enter())
    }
}

/// For as long as it is there, its thread is within a span.
pub(crate) struct Entered<'s> {
    _in_tracing: Option<tracing::span::Entered<'s>>,
    #[cfg(feature = "otel")]
    _attached: Option<Attached>,
}

pin_project! {
    /// A future that is polled and dropped within a span.
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
