//! The `tracing` spans of a call, opened and closed as it goes, with OpenTelemetry's names for an
//! HTTP client's facts. Where nobody listens, a span site costs one load and a branch.

use std::cell::Cell;

use http::{Method, Uri};
use tracing::field::Empty;
use tracing::span::Entered;
use tracing::{Span, info_span, record_all};

use super::shown::{self, port, span_name};
use crate::call::Call;
use crate::hop::{Diagnosis, Hop};

/// The span of a whole call.
pub(crate) fn call_span(method: &Method, uri: &Uri, route: Option<&str>) -> Span {
    // What a field says is put together only where somebody listens.
    info_span!(
        target: TARGET,
        "call",
        otel.name = span_name(method, route),
        otel.kind = "internal",
        otel.status_code = Empty,
        http.request.method = shown::method(method),
        server.address = shown::host(uri).as_deref(),
        server.port = port(uri),
        url.template = route,
        sevenhops.attempts = Empty,
        sevenhops.hop = Empty,
        sevenhops.kind = Empty,
        sevenhops.effect = Empty,
        sevenhops.not_repeated = Empty,
        "error.type" = Empty,
    )
}

/// The span of a whole operation.
pub(crate) fn operation_span(name: &str, destination: &str) -> Span {
    info_span!(
        target: TARGET,
        "operation",
        otel.name = name,
        otel.kind = "internal",
        otel.status_code = Empty,
        sevenhops.destination = destination,
        sevenhops.attempts = Empty,
        sevenhops.hop = Empty,
        sevenhops.kind = Empty,
        sevenhops.effect = Empty,
        sevenhops.not_repeated = Empty,
        "error.type" = Empty,
    )
}

/// The call is over: how many attempts it took, and how it failed, if it did.
pub(crate) fn end_call(span: &Span, call: &Call) {
    if span.is_disabled() {
        return;
    }
    span.record("sevenhops.attempts", i64::from(call.attempt_count()));
    // A caller that goes away between two attempts is no failure.
    let by_attempt = || {
        call.last()
            .filter(|_| call.is_answered())
            .and_then(|last| last.failure())
    };
    if let Some(diagnosis) = call.failure().or_else(by_attempt) {
        mark(span, &diagnosis);
        if let Some(reason) = call.not_repeated() {
            span.record("sevenhops.not_repeated", reason.as_str());
        }
    }
    end_now(span);
}

/// Writing a body down, which is done before the call begins.
#[cfg(feature = "client")]
pub(crate) fn encode_span() -> Span {
    info_span!(target: TARGET, "encode", sevenhops.kind = Empty, otel.status_code = Empty)
}

/// Making sense of a body.
#[cfg(feature = "client")]
pub(crate) fn decode_span(call: &Span) -> Span {
    info_span!(
        target: TARGET,
        parent: call,
        "decode",
        sevenhops.hop = Empty,
        sevenhops.kind = Empty,
        sevenhops.effect = Empty,
        "error.type" = Empty,
        otel.status_code = Empty,
    )
}

pub(crate) fn mark(span: &Span, diagnosis: &Diagnosis) {
    if span.is_disabled() {
        return;
    }
    record_all!(
        span,
        sevenhops.hop = diagnosis.hop.map(Hop::as_str),
        sevenhops.kind = diagnosis.kind.as_str(),
        sevenhops.effect = diagnosis.effect.as_str(),
        "error.type" = &*diagnosis.error_type(),
        otel.status_code = "ERROR",
    );
}

/// Enters a span of ours.
pub(crate) fn enter(span: &Span) -> Entered<'_> {
    let entered = span.enter();
    if !span.is_disabled() {
        // Made after the thread-locals that a subscriber needs for this, and so destroyed before them.
        let _ = THREAD.try_with(|_| ());
    }
    entered
}

/// The span ends now. OpenTelemetry's layer takes the moment at which a span was last left for its end, and
/// that may lie before those of its parts.
pub(super) fn end_now(span: &Span) {
    // What ends with its thread cannot be entered any more: it ends when it was last left.
    if !span.is_disabled() && !GONE.get() {
        drop(enter(span));
    }
}

/// Says when its thread's thread-locals go.
struct Thread;

impl Drop for Thread {
    fn drop(&mut self) {
        GONE.set(true);
    }
}

thread_local! {
    static GONE: Cell<bool> = const { Cell::new(false) };
    static THREAD: Thread = const { Thread };
}

/// By which a subscriber's filter finds what is ours: `sevenhops=info`.
pub(super) const TARGET: &str = "sevenhops";
