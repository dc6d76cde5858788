use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
#[cfg(feature = "otel")]
use opentelemetry::trace::{SpanContext, TraceContextExt};
#[cfg(feature = "otel")]
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::span::Span;
use crate::callback::{Site, ask, observe};

/// Carries the trace along: writes its context into the headers of an attempt, so that the server's
/// span hangs under the attempt that reached it.
///
/// With the feature `otel`, `sevenhops::telemetry::otel::TraceContext` is one. The trait is for traces of another
/// make.
///
/// If it panics, the attempt goes on with the headers that it has by then.
///
/// # Example
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use sevenhops::telemetry::Propagator;
///
/// #[derive(Debug)]
/// struct RequestId;
///
/// impl Propagator for RequestId {
///     fn inject(&self, span: &tracing::Span, headers: &mut HeaderMap) {
///         if let Some(id) = span.id() {
///             headers.insert("x-request-id", HeaderValue::from(id.into_u64()));
///         }
///     }
/// }
///
/// # fn f() -> Result<(), sevenhops::SettingError> {
/// # use std::time::Duration;
/// let layer = sevenhops::StandardLayer::new(Duration::from_secs(10))?.propagator(RequestId);
/// # drop(layer); Ok(()) }
/// ```
pub trait Propagator: fmt::Debug + Send + Sync + 'static {
    /// Writes the context of an attempt's span into the headers that it sends, in place of what
    /// stands there. The span is disabled where nobody listens, and where spans are made straight in
    /// OpenTelemetry: then the attempt's is the current one there.
    fn inject(&self, span: &tracing::Span, headers: &mut HeaderMap);

    /// What ties a span to this one later, when this one may be over: an attempt to the set-up of the
    /// connection that it found in the pool. Nothing by default. Spans straight in OpenTelemetry are tied without it.
    fn link(&self, span: &tracing::Span) -> Option<Link> {
        let _ = span;
        None
    }
}

/// A propagator of the user's, whose panics harm no call.
pub(crate) struct Contained<P> {
    propagator: P,
    site: Site,
}

impl<P> Contained<P> {
    pub(crate) fn new(propagator: P) -> Self {
        let site = Site::new("Propagator");
        Self { propagator, site }
    }
}

impl<P: Propagator> Propagator for Contained<P> {
    fn inject(&self, span: &tracing::Span, headers: &mut HeaderMap) {
        observe(&self.site, || self.propagator.inject(span, headers));
    }

    fn link(&self, span: &tracing::Span) -> Option<Link> {
        ask(&self.site, || self.propagator.link(span))
    }
}

impl<P: fmt::Debug> fmt::Debug for Contained<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.propagator.fmt(f)
    }
}

/// Ties spans to one that came before.
#[derive(Clone)]
pub struct Link(To);

#[derive(Clone)]
enum To {
    Tracing(Arc<Tie>),
    #[cfg(feature = "otel")]
    Direct(SpanContext),
}

type Tie = dyn Fn(&tracing::Span) + Send + Sync;

impl Link {
    /// A link that is made by this function.
    #[must_use]
    pub fn new(tie: impl Fn(&tracing::Span) + Send + Sync + 'static) -> Self {
        let site = Site::new("Link::new");
        let tie = move |span: &tracing::Span| observe(&site, || tie(span));
        Self(To::Tracing(Arc::new(tie)))
    }

    /// What leads to a span.
    pub(super) fn to(span: &Span, by: Option<&Arc<dyn Propagator>>) -> Option<Self> {
        match span {
            Span::Tracing(span) => match by {
                Some(propagator) => propagator.link(span),
                #[cfg(feature = "otel")]
                None => Self::of_tracing(span),
                #[cfg(not(feature = "otel"))]
                None => None,
            },
            #[cfg(feature = "otel")]
            Span::Direct(span) => Self::to_context(span.address()),
        }
    }

    /// A link to a span of `tracing`, as its OpenTelemetry layer has it.
    #[cfg(feature = "otel")]
    pub(super) fn of_tracing(span: &tracing::Span) -> Option<Self> {
        Self::to_context(span.context().span().span_context().clone())
    }

    /// What leads to the span of such a context, if there is one.
    #[cfg(feature = "otel")]
    fn to_context(context: SpanContext) -> Option<Self> {
        context.is_valid().then(|| Self(To::Direct(context)))
    }

    /// Ties a span to the one that this link leads to.
    pub(super) fn tie(&self, span: &Span) {
        match (&self.0, span) {
            (To::Tracing(tie), _) => tie(&span.in_tracing()),
            #[cfg(feature = "otel")]
            (To::Direct(to), Span::Direct(span)) => span.tie(to),
            #[cfg(feature = "otel")]
            (To::Direct(to), Span::Tracing(span)) => span.add_link(to.clone()),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
