//! The spans of a call, opened and closed as it goes, with OpenTelemetry's names for an HTTP client's facts.
//! Where nobody listens, a span site costs one load and a branch.

use std::borrow::Cow;
use std::fmt;

use http::{Method, Uri};
use tokio::time::Instant;
use tracing::field::Empty;

use super::say::{open, record};
use super::shown::{self, port, span_name};
use super::span::{Maker, Span, TARGET};
use crate::clock;
use crate::hop::{Diagnosis, Hop, Kind, NotRepeated};

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

/// The span of a whole call.
pub(crate) fn call_span(
    maker: &Maker,
    call: &impl Subject,
    (method, uri): (&Method, &Uri),
) -> Span {
    let route = call.route();
    // What a field says is put together only where somebody listens.
    open!(
        maker,
        call.started(),
        "call",
        named: span_name(method, route),
        "otel.kind" = "internal",
        "otel.status_code" = Empty,
        "http.request.method" = shown::method(method),
        "server.address" = shown::host(uri).map(Cow::into_owned),
        "server.port" = port(uri),
        "url.template" = route.map(str::to_owned),
        "sevenhops.attempts" = Empty,
        "sevenhops.hop" = Empty,
        "sevenhops.kind" = Empty,
        "sevenhops.effect" = Empty,
        "sevenhops.not_repeated" = Empty,
        "error.type" = Empty,
    )
}

/// The span of a whole operation.
pub(crate) fn operation_span(
    maker: &Maker,
    call: &impl Subject,
    (name, destination): (&str, &str),
) -> Span {
    open!(
        maker,
        call.started(),
        "operation",
        named: Cow::from(name.to_owned()),
        "otel.kind" = "internal",
        "otel.status_code" = Empty,
        "sevenhops.destination" = destination.to_owned(),
        "sevenhops.attempts" = Empty,
        "sevenhops.hop" = Empty,
        "sevenhops.kind" = Empty,
        "sevenhops.effect" = Empty,
        "sevenhops.not_repeated" = Empty,
        "error.type" = Empty,
    )
}

/// The call is over: how many attempts it took, and how it failed, if it did.
pub(crate) fn end_call(
    span: &Span,
    attempts: u32,
    failed: Option<(Diagnosis, Option<NotRepeated>)>,
) {
    record!(span, "sevenhops.attempts" = i64::from(attempts));
    if let Some((diagnosis, not_repeated)) = failed {
        mark(span, &diagnosis);
        if let Some(reason) = not_repeated {
            record!(span, "sevenhops.not_repeated" = reason.as_str());
        }
    }
    span.end(clock::now());
}

/// Writing a body down, which is done before the call begins.
#[cfg(feature = "client")]
pub(crate) fn encode_span(maker: &Maker) -> Span {
    open!(
        maker,
        clock::now(),
        "encode",
        "sevenhops.kind" = Empty,
        "otel.status_code" = Empty
    )
}

/// The body could not be written down.
#[cfg(feature = "client")]
pub(crate) fn invalid(encode: &Span) {
    record!(
        encode,
        "sevenhops.kind" = Kind::Invalid.as_str(),
        "otel.status_code" = "ERROR",
    );
}

/// Making sense of a body.
#[cfg(feature = "client")]
pub(crate) fn decode_span(call: &impl Subject) -> Span {
    let call = call.span();
    if call.is_disabled() {
        // It is over: nothing is part of it any more.
        return Span::none();
    }
    open!(
        below: &call,
        clock::now(),
        "decode",
        "sevenhops.hop" = Empty,
        "sevenhops.kind" = Empty,
        "sevenhops.effect" = Empty,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

pub(crate) fn mark(span: &Span, diagnosis: &Diagnosis) {
    if span.is_disabled() {
        return;
    }
    record!(
        span,
        "sevenhops.hop" = diagnosis.hop.map(Hop::as_str),
        "sevenhops.kind" = diagnosis.kind.as_str(),
        "sevenhops.effect" = diagnosis.effect.as_str(),
        "error.type" = diagnosis.error_type().into_owned(),
        "otel.status_code" = "ERROR",
    );
}
