//! The `tracing` spans of a call, opened and closed as it goes, with OpenTelemetry's names for an
//! HTTP client's facts. Where nobody listens, a span site costs one load and a branch.

use std::sync::{Mutex, PoisonError};

use http::{Method, StatusCode, Uri};
use tracing::field::{Empty, display};
use tracing::{Span, info_span};

use crate::call::Call;
use crate::hop::{Diagnosis, Kind, Stage};

/// The span of a whole call.
pub(crate) fn call_span(method: &Method, uri: &Uri, route: Option<&str>) -> Span {
    let span = info_span!(
        "call",
        otel.kind = "internal",
        http.request.method = %method,
        server.address = uri.host(),
        server.port = port(uri),
        url.template = Empty,
        sevenhops.attempts = Empty,
        sevenhops.hop = Empty,
        sevenhops.kind = Empty,
        sevenhops.effect = Empty,
        "error.type" = Empty,
        otel.status_code = Empty,
    );
    if let Some(route) = route {
        span.record("url.template", route);
    }
    span
}

/// The call is over: how many attempts it took, and how it failed, if it did.
pub(crate) fn end_call(span: &Span, call: &Call) {
    if span.is_disabled() {
        return;
    }
    span.record("sevenhops.attempts", call.attempt_count());
    // A caller that goes away between two attempts is no failure.
    let by_attempt = || {
        call.last()
            .filter(|_| call.is_answered())
            .and_then(|last| last.failure())
    };
    if let Some(diagnosis) = call.failure().or_else(by_attempt) {
        mark(span, &diagnosis);
    }
}

/// The spans of one attempt: its own, and one for each stage that is open.
#[derive(Debug, Default)]
pub(crate) struct AttemptSpans(Option<Box<Listening>>);

#[derive(Debug)]
struct Listening {
    attempt: Mutex<Span>,
    stages: Mutex<[Option<Span>; Stage::ALL.len()]>,
}

impl Listening {
    fn attempt(&self) -> Span {
        lock(&self.attempt).clone()
    }
}

impl AttemptSpans {
    /// Opens the span of an attempt below the current span; `resend` counts repeats from 1.
    pub(crate) fn new(method: &Method, uri: &Uri, resend: u32) -> Self {
        let span = info_span!(
            "attempt",
            otel.kind = "client",
            http.request.method = %method,
            http.request.resend_count = Empty,
            server.address = uri.host(),
            server.port = port(uri),
            url.full = Empty,
            network.peer.address = Empty,
            network.peer.port = Empty,
            network.protocol.version = Empty,
            http.response.status_code = Empty,
            sevenhops.hop = Empty,
            sevenhops.kind = Empty,
            sevenhops.effect = Empty,
            "error.type" = Empty,
            otel.status_code = Empty,
        );
        if span.is_disabled() {
            return Self(None);
        }
        span.record("url.full", crate::call::redacted(uri));
        if resend > 0 {
            span.record("http.request.resend_count", resend);
        }
        Self(Some(Box::new(Listening {
            attempt: Mutex::new(span),
            stages: Mutex::default(),
        })))
    }

    /// The attempt's own span, to be entered while the attempt is polled.
    pub(crate) fn attempt(&self) -> Span {
        self.0
            .as_deref()
            .map_or_else(Span::none, Listening::attempt)
    }

    /// A stage was entered.
    pub(crate) fn open(&self, stage: Stage) {
        if let Some(listening) = &self.0 {
            let span = stage_span(stage, &listening.attempt());
            let before = lock(&listening.stages)[stage as usize].replace(span);
            drop(before);
        }
    }

    /// A stage was left; with a kind, it failed and that was overcome.
    pub(crate) fn close(&self, stage: Stage, failed: Option<Kind>) {
        let Some(listening) = &self.0 else { return };
        let span = lock(&listening.stages)[stage as usize].take();
        if let (Some(span), Some(kind)) = (span, failed) {
            span.record("sevenhops.kind", kind.as_str());
            span.record("otel.status_code", "ERROR");
        }
    }

    /// The attempt failed: marks it, and the stage that is open for the hop.
    pub(crate) fn fail(&self, diagnosis: &Diagnosis) {
        let Some(listening) = &self.0 else { return };
        mark(&listening.attempt(), diagnosis);
        if let Some(stage) = diagnosis.hop.and_then(Stage::of) {
            let span = lock(&listening.stages)[stage as usize].clone();
            mark(&span.unwrap_or_else(Span::none), diagnosis);
        }
    }

    /// A response head came.
    pub(crate) fn answered(&self, status: StatusCode, version: http::Version) {
        if let Some(listening) = &self.0 {
            let span = listening.attempt();
            span.record("http.response.status_code", status.as_u16());
            span.record(
                "network.protocol.version",
                match version {
                    http::Version::HTTP_10 => "1.0",
                    http::Version::HTTP_2 => "2",
                    _ => "1.1",
                },
            );
        }
    }

    /// The peer is known.
    pub(crate) fn peer(&self, peer: std::net::SocketAddr) {
        if let Some(listening) = &self.0 {
            let span = listening.attempt();
            span.record("network.peer.address", display(peer.ip()));
            span.record("network.peer.port", peer.port());
        }
    }

    /// The attempt ended: what is still open closes with it.
    pub(crate) fn end(&self) {
        if let Some(listening) = &self.0 {
            let stages = std::mem::take(&mut *lock(&listening.stages));
            drop(stages);
            let attempt = std::mem::replace(&mut *lock(&listening.attempt), Span::none());
            drop(attempt);
        }
    }
}

fn stage_span(stage: Stage, attempt: &Span) -> Span {
    macro_rules! span {
        ($name:literal) => {
            info_span!(
                parent: attempt,
                $name,
                sevenhops.hop = Empty,
                sevenhops.kind = Empty,
                sevenhops.effect = Empty,
                "error.type" = Empty,
                otel.status_code = Empty,
            )
        };
    }
    match stage {
        Stage::Dns => span!("dns"),
        Stage::Connect => span!("connect"),
        Stage::Tls => span!("tls"),
        Stage::Send => span!("send"),
        Stage::Wait => span!("wait"),
        Stage::Receive => span!("receive"),
    }
}

fn mark(span: &Span, diagnosis: &Diagnosis) {
    if span.is_disabled() {
        return;
    }
    if let Some(hop) = diagnosis.hop {
        span.record("sevenhops.hop", hop.as_str());
    }
    span.record("sevenhops.kind", diagnosis.kind.as_str());
    span.record("sevenhops.effect", diagnosis.effect.as_str());
    span.record("error.type", &*diagnosis.error_type());
    span.record("otel.status_code", "ERROR");
}

fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
