//! The spans of a call, opened and closed while it runs, with OpenTelemetry's names for the attributes of an HTTP
//! client. A disabled span costs one load and one branch.

use std::borrow::Cow;
use std::fmt;

use http::{Method, Uri};
use tokio::time::Instant;
use tracing::field::Empty;

use super::macros::{open, record};
use super::span::{Maker, Span, TARGET};
use super::values::{self, port, span_name};
use crate::clock;
use crate::hop::{Diagnosis, Hop, Kind, NoRetryReason};

/// A call, as its spans see it.
pub(crate) trait Subject {
    fn started(&self) -> Instant;

    fn route(&self) -> Option<&str>;

    /// Returns whether a redirect led away from the call's own URL.
    fn is_redirected(&self) -> bool;

    /// Returns its span, disabled if there is none.
    fn span(&self) -> Span;

    /// Returns a handle to the span for later events.
    fn event_span(&self) -> Box<dyn EventSpan>;
}

/// The span for the events of a call. It does not keep the call alive.
pub(crate) trait EventSpan: fmt::Debug + Send + Sync {
    /// Returns `None` once the call is gone.
    fn get(&self) -> Option<Span>;
}

/// Opens the span of a whole call.
pub(crate) fn call_span(
    maker: &Maker,
    call: &impl Subject,
    (method, uri): (&Method, &Uri),
) -> Span {
    let route = call.route();
    // The values of the fields are computed only if the span is enabled.
    open!(
        maker,
        call.started(),
        "call",
        named: span_name(method, route),
        "otel.kind" = "internal",
        "otel.status_code" = Empty,
        "http.request.method" = values::method(method),
        "server.address" = values::host(uri).map(Cow::into_owned),
        "server.port" = port(uri),
        "url.template" = route.map(str::to_owned),
        "sevenhops.attempts" = Empty,
        "sevenhops.hop" = Empty,
        "sevenhops.kind" = Empty,
        "sevenhops.effect" = Empty,
        "sevenhops.no_retry_reason" = Empty,
        "error.type" = Empty,
    )
}

/// Opens the span of a whole operation.
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
        "sevenhops.no_retry_reason" = Empty,
        "error.type" = Empty,
    )
}

/// Records the end of a call: the number of attempts, and the failure if there was one.
pub(crate) fn end_call(
    span: &Span,
    attempts: u32,
    failed: Option<(Diagnosis, Option<NoRetryReason>)>,
) {
    record!(span, "sevenhops.attempts" = i64::from(attempts));
    if let Some((diagnosis, no_retry_reason)) = failed {
        mark(span, &diagnosis);
        if let Some(reason) = no_retry_reason {
            record!(span, "sevenhops.no_retry_reason" = reason.as_str());
        }
    }
    span.end(clock::now());
}

/// Opens the span for encoding a body, which happens before the call begins.
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

/// Records that the body could not be encoded.
#[cfg(feature = "client")]
pub(crate) fn invalid(encode: &Span) {
    record!(
        encode,
        "sevenhops.kind" = Kind::InvalidRequest.as_str(),
        "otel.status_code" = "ERROR",
    );
}

/// Opens the span for decoding a body.
#[cfg(feature = "client")]
pub(crate) fn decode_span(call: &impl Subject) -> Span {
    let call = call.span();
    if call.is_disabled() {
        // The call has ended: no span can be its child any more.
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
