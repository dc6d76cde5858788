use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
#[cfg(feature = "otel")]
use opentelemetry::trace::SpanContext;
#[cfg(feature = "otel")]
use tracing_opentelemetry::OpenTelemetrySpanExt;

#[cfg(feature = "otel")]
use super::otel::TraceContext;
use super::span::Span;

/// Carries the trace along: writes its context into the headers of an attempt, so that the server's
/// span hangs under the attempt that reached it.
///
/// With the feature `otel`, `sevenhops::telemetry::otel::TraceContext` is one. The trait is for traces of another
/// make.
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
        Self(To::Tracing(Arc::new(tie)))
    }

    /// What leads to a span.
    pub(super) fn to(span: &Span, by: Option<&Arc<dyn Propagator>>) -> Option<Self> {
        match span {
            Span::Tracing(span) => match by {
                Some(propagator) => propagator.link(span),
                #[cfg(feature = "otel")]
                None => TraceContext.link(span),
                #[cfg(not(feature = "otel"))]
                None => None,
            },
            #[cfg(feature = "otel")]
            Span::Direct(span) => Self::to_context(span.address()),
        }
    }

    /// What leads to the span of such a context, if there is one.
    #[cfg(feature = "otel")]
    pub(super) fn to_context(context: SpanContext) -> Option<Self> {
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
