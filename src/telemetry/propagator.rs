use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
#[cfg(feature = "otel")]
use opentelemetry::trace::{SpanContext, TraceContextExt};
#[cfg(feature = "otel")]
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::span::Span;
use crate::callback::{Site, ask, observe};

/// Propagates the trace: writes its context into the headers of an attempt, so that the server's span becomes a child
/// of the attempt's span.
///
/// With the feature `otel`, `sevenhops::telemetry::otel::TraceContext` implements it. Implement the trait for other
/// trace formats.
///
/// If it panics, the attempt continues with the headers written so far.
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
/// # fn f() -> Result<(), sevenhops::ConfigError> {
/// # use std::time::Duration;
/// let layer = sevenhops::StandardLayer::new(Duration::from_secs(10))?.trace_propagator(RequestId);
/// # drop(layer); Ok(()) }
/// ```
pub trait Propagator: fmt::Debug + Send + Sync + 'static {
    /// Writes the context of an attempt's span into its headers, and replaces existing values. The span is disabled if
    /// no subscriber is interested. It is also disabled if spans are created directly with OpenTelemetry: then the
    /// attempt's span is the current one there.
    fn inject(&self, span: &tracing::Span, headers: &mut HeaderMap);

    /// Returns a link to this span for later spans, when this span may have ended. An attempt uses it to link to the
    /// setup of its pooled connection. By default there is no link. Spans that are created directly with OpenTelemetry
    /// are linked without it.
    fn link(&self, span: &tracing::Span) -> Option<Link> {
        let _ = span;
        None
    }
}

/// A user's propagator, whose panics do not fail a call.
pub(crate) struct ContainedPropagator<P> {
    propagator: P,
    site: Site,
}

impl<P> ContainedPropagator<P> {
    pub(crate) fn new(propagator: P) -> Self {
        let site = Site::new("Propagator");
        Self { propagator, site }
    }
}

impl<P: Propagator> Propagator for ContainedPropagator<P> {
    fn inject(&self, span: &tracing::Span, headers: &mut HeaderMap) {
        observe(&self.site, || self.propagator.inject(span, headers));
    }

    fn link(&self, span: &tracing::Span) -> Option<Link> {
        ask(&self.site, || self.propagator.link(span))
    }
}

impl<P: fmt::Debug> fmt::Debug for ContainedPropagator<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.propagator.fmt(f)
    }
}

/// Links spans to an earlier one.
#[derive(Clone)]
pub struct Link(LinkTarget);

#[derive(Clone)]
enum LinkTarget {
    Tracing(Arc<Tie>),
    #[cfg(feature = "otel")]
    Direct(SpanContext),
}

type Tie = dyn Fn(&tracing::Span) + Send + Sync;

impl Link {
    /// Creates a link from a function.
    #[must_use]
    pub fn new(tie: impl Fn(&tracing::Span) + Send + Sync + 'static) -> Self {
        let site = Site::new("Link::new");
        let tie = move |span: &tracing::Span| observe(&site, || tie(span));
        Self(LinkTarget::Tracing(Arc::new(tie)))
    }

    /// Returns a link to a span.
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

    /// Returns a link to a `tracing` span, in the form of its OpenTelemetry layer.
    #[cfg(feature = "otel")]
    pub(super) fn of_tracing(span: &tracing::Span) -> Option<Self> {
        Self::to_context(span.context().span().span_context().clone())
    }

    /// Returns a link to the span of this context, if the context is valid.
    #[cfg(feature = "otel")]
    fn to_context(context: SpanContext) -> Option<Self> {
        context
            .is_valid()
            .then(|| Self(LinkTarget::Direct(context)))
    }

    /// Links a span to the target of this link.
    pub(super) fn tie(&self, span: &Span) {
        match (&self.0, span) {
            (LinkTarget::Tracing(tie), _) => tie(&span.in_tracing()),
            #[cfg(feature = "otel")]
            (LinkTarget::Direct(to), Span::Direct(span)) => span.tie(to),
            #[cfg(feature = "otel")]
            (LinkTarget::Direct(to), Span::Tracing(span)) => span.add_link(to.clone()),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
