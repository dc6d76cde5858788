//! A call, as far as its spans are concerned.

use std::fmt;

use tokio::time::Instant;

use super::span::Span;

/// A call, as far as its spans are concerned.
pub(crate) trait Subject {
    fn started(&self) -> Instant;

    fn route(&self) -> Option<&str>;

    /// Whether a redirect led away from its own URL.
    fn is_redirected(&self) -> bool;

    /// Its span, disabled where there is none.
    fn span(&self) -> Span;

    /// Leads to the span for its events, later on.
    fn event_span(&self) -> Box<dyn EventSpan>;
}

/// The span for the events of a call that is remembered, and not kept.
pub(crate) trait EventSpan: fmt::Debug + Send + Sync {
    /// `None` once the call is gone.
    fn get(&self) -> Option<Span>;
}
