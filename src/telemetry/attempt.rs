//! The spans of an attempt, opened and closed while it runs.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "client")]
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::Instant;
use tracing::field::Empty;

use super::events;
use super::macros::{open, record};
use super::propagator::{Link, Propagator};
use super::span::{Span, TARGET};
use super::spans::mark;
use super::spans::{EventSpan, Subject};
use super::stage::StageSpan;
use super::values::{self, port, span_name};
use crate::hop::{Diagnosis, Kind, Stage, TlsSession};

/// The spans of one attempt: its own span, and one for each open stage.
#[derive(Debug, Default)]
pub(crate) struct AttemptSpans(Option<Box<Listening>>);

#[derive(Debug)]
struct Listening {
    /// The span that gets the events.
    call: Box<dyn EventSpan>,
    /// `None` after the end: the record of the attempt lives longer than its spans are open.
    open: Mutex<Option<OpenSpans>>,
    propagator: Option<Arc<dyn Propagator>>,
}

#[derive(Debug)]
struct OpenSpans {
    attempt: Span,
    /// By record number: two tasks may report changes in another order than they made them.
    stages: Vec<(u32, StageSpan)>,
    /// The link from later attempts to the connection that is being set up.
    setup: Option<Link>,
    // The attributes of the response are recorded together at the end.
    answered: Option<(StatusCode, Option<http::Version>)>,
    peer: Option<SocketAddr>,
    /// The path of the unix socket that is used instead.
    socket: Option<String>,
    failure: Option<Diagnosis>,
    /// The time at which a stage was last entered or left.
    latest: Instant,
}

impl OpenSpans {
    /// Returns the span of a stage, if the stage is open.
    fn stage(&mut self, stage: Stage) -> Option<&mut StageSpan> {
        let of_stage = self
            .stages
            .iter_mut()
            .filter(|(_, span)| span.stage() == stage);
        Some(&mut of_stage.max_by_key(|(number, _)| *number)?.1)
    }
}

impl AttemptSpans {
    /// Opens the span of an attempt below the current span; `resend` counts retries from 1.
    pub(crate) fn new(
        call: &impl Subject,
        (method, uri): (&Method, &Uri),
        (resend, now): (u32, Instant),
    ) -> Self {
        // The route belongs to the call's own URL.
        let route = call.route().filter(|_| !call.is_redirected());
        let span = open!(
            within: &call.span(),
            now,
            "attempt",
            named: span_name(method, route),
            "otel.kind" = "client",
            "otel.status_code" = Empty,
            "http.request.method" = values::method(method),
            "http.request.method_original" = values::original(method).map(str::to_owned),
            "http.request.resend_count" = (resend > 0).then(|| i64::from(resend)),
            "http.request.body.size" = Empty,
            "http.response.status_code" = Empty,
            "http.response.body.size" = Empty,
            "server.address" = values::host(uri).map(Cow::into_owned),
            "server.port" = port(uri),
            "url.full" = values::full_url(uri),
            "url.template" = route.map(str::to_owned),
            "network.peer.address" = Empty,
            "network.peer.port" = Empty,
            "network.protocol.version" = Empty,
            "sevenhops.hop" = Empty,
            "sevenhops.kind" = Empty,
            "sevenhops.effect" = Empty,
            "error.type" = Empty,
        );
        Self::listening(call, span, now)
    }

    /// Opens the span of an attempt of an operation below the current span; `resend` counts retries.
    pub(crate) fn of_operation(call: &impl Subject, (resend, now): (u32, Instant)) -> Self {
        let span = open!(
            within: &call.span(),
            now,
            "operation attempt",
            "otel.kind" = "internal",
            "otel.status_code" = Empty,
            "sevenhops.resend_count" = (resend > 0).then(|| i64::from(resend)),
            "sevenhops.hop" = Empty,
            "sevenhops.kind" = Empty,
            "sevenhops.effect" = Empty,
            "error.type" = Empty,
        );
        Self::listening(call, span, now)
    }

    fn listening(call: &impl Subject, span: Span, now: Instant) -> Self {
        if span.is_disabled() {
            return Self(None);
        }
        Self(Some(Box::new(Listening {
            call: call.event_span(),
            open: Mutex::new(Some(OpenSpans {
                attempt: span,
                stages: Vec::new(),
                setup: None,
                answered: None,
                peer: None,
                socket: None,
                failure: None,
                latest: now,
            })),
            propagator: None,
        })))
    }

    /// Writes the trace into the attempt's headers, even if no span is enabled.
    pub(crate) fn propagate(&mut self, by: &Arc<dyn Propagator>, headers: &mut HeaderMap) {
        let attempt = self.attempt();
        let entered = attempt.enter();
        by.inject(&attempt.in_tracing(), headers);
        drop(entered);
        if let Some(listening) = &mut self.0 {
            listening.propagator = Some(Arc::clone(by));
        }
    }

    /// Returns whether a span is enabled.
    pub(crate) const fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the attempt's own span, to be entered while the attempt is polled.
    pub(crate) fn attempt(&self) -> Span {
        self.with(|open| open.attempt.clone())
            .unwrap_or_else(Span::none)
    }

    /// Reports that the stage with this number was entered. Returns whether it has a span.
    pub(crate) fn open(&self, number: u32, stage: Stage, at: Instant) -> bool {
        let Some(listening) = &self.0 else {
            return false;
        };
        let attempt = self.attempt();
        if attempt.is_disabled() {
            // The attempt ended before the connection's task reported the stage.
            return false;
        }
        let span = StageSpan::open(stage, attempt, at);
        let mut link = span.link(listening.propagator.as_ref());
        let mut opened = Some(span);
        self.with(|open| {
            open.stages.extend(opened.take().map(|span| (number, span)));
            open.latest = open.latest.max(at);
            link.take().and_then(|link| open.setup.replace(link))
        });
        // The attempt ended in the meantime.
        let Some(late) = opened else { return true };
        late.close(at, None);
        false
    }

    /// Records more fields on the span of an open stage.
    fn tell(&self, stage: Stage, what: impl FnOnce(&Span)) {
        let stage = |open: &mut OpenSpans| open.stage(stage)?.span().cloned();
        if let Some(span) = self.with(stage).flatten() {
            what(&span);
        }
    }

    /// Records the name of a lookup.
    pub(crate) fn asking(&self, name: &str) {
        self.tell(Stage::Dns, |span| {
            record!(span, "dns.question.name" = name.to_owned());
        });
    }

    /// Records the addresses of a lookup.
    pub(crate) fn answers(&self, addresses: &[IpAddr]) {
        self.tell(Stage::Dns, |span| {
            let answers: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            record!(span, "dns.answers" = answers.join(","));
        });
    }

    /// Records the address of a connect.
    pub(crate) fn dialling(&self, address: SocketAddr) {
        self.tell(Stage::Connect, |span| {
            record!(
                span,
                "network.peer.address" = address.ip().to_string(),
                "network.peer.port" = i64::from(address.port()),
                "network.transport" = "tcp",
                "network.type" = if address.is_ipv4() { "ipv4" } else { "ipv6" },
            );
        });
    }

    /// Reports that a unix socket is dialed.
    #[cfg(feature = "client")]
    pub(crate) fn dialling_socket(&self, path: &Path) {
        self.tell(Stage::Connect, |span| {
            record!(
                span,
                "network.peer.address" = path.display().to_string(),
                "network.transport" = "unix",
            );
        });
    }

    /// Reports that the attempt waits for the connection of another call.
    #[cfg(feature = "client")]
    pub(crate) fn queueing(&self) {
        self.tell(Stage::Connect, |span| {
            record!(span, "sevenhops.queued" = true);
        });
    }

    /// Reports a completed handshake.
    pub(crate) fn secured(&self, session: &TlsSession) {
        self.tell(Stage::Tls, |span| {
            record!(
                span,
                "tls.protocol.name" = "tls",
                "tls.protocol.version" = session.version,
                "tls.next_protocol" = session.alpn,
                "tls.resumed" = session.is_resumed,
            );
        });
    }

    /// Reports that the stage with this number was left. With a kind, it failed.
    pub(crate) fn close(&self, number: u32, at: Instant, failed: Option<Kind>) {
        let closed = self.with(|open| {
            open.latest = open.latest.max(at);
            let at = open.stages.iter().position(|(of, _)| *of == number)?;
            Some(open.stages.remove(at).1)
        });
        if let Some(closed) = closed.flatten() {
            closed.close(at, failed);
        }
    }

    /// Reports that the attempt failed. Marks the open stage of the hop now, and the attempt when it ends.
    pub(crate) fn fail(&self, diagnosis: &Diagnosis) {
        let failing = |open: &mut OpenSpans| {
            open.failure = Some(*diagnosis);
            let stage = diagnosis.hop.and_then(Stage::of)?;
            open.stage(stage)?.fail(*diagnosis)
        };
        if let Some(span) = self.with(failing).flatten() {
            mark(&span, diagnosis);
        }
    }

    /// Reports a response head. The version is known if the transport is one of this crate's.
    pub(crate) fn answered(
        &self,
        status: StatusCode,
        version: impl FnOnce() -> Option<http::Version>,
    ) {
        if self.0.is_some() {
            let answered = Some((status, version()));
            self.with(|open| open.answered = answered);
        }
    }

    /// Records the peer.
    pub(crate) fn peer(&self, peer: SocketAddr) {
        self.with(|open| open.peer = Some(peer));
    }

    /// Reports that the peer is behind a unix socket.
    #[cfg(feature = "client")]
    pub(crate) fn socket(&self, path: &Path) {
        self.with(|open| open.socket = Some(path.display().to_string()));
    }

    /// Returns the link from later attempts to the connection that this attempt set up last.
    pub(crate) fn setup(&self) -> Option<Link> {
        self.with(|open| open.setup.clone()).flatten()
    }

    /// Links the attempt to the setup of its connection, which another attempt made.
    pub(crate) fn tie(&self, link: &Link) {
        if self.0.is_some() {
            link.tie(&self.attempt());
        }
    }

    /// Reports that the DNS answer in use has expired.
    pub(crate) fn stale_dns(&self) {
        if let Some(call) = self.call() {
            events::stale_dns(&call);
        }
    }

    /// Reports that an address was set aside because it performed worse than the others.
    pub(crate) fn set_aside(&self, address: IpAddr) {
        if let Some(call) = self.call() {
            events::set_aside(&call, address);
        }
    }

    /// Reports that a session may read older data at this address than before.
    pub(crate) fn affinity_moved(&self, address: IpAddr) {
        if let Some(call) = self.call() {
            events::affinity_moved(&call, address);
        }
    }

    /// Ends the attempt, and closes all its open spans.
    pub(crate) fn end(&self, at: Instant, (sent_bytes, received_bytes): (u64, u64)) {
        let listening = self.0.as_deref();
        let Some(ended) = listening.and_then(|listening| lock(&listening.open).take()) else {
            return;
        };
        let OpenSpans {
            attempt,
            stages,
            setup: _,
            answered,
            peer,
            socket,
            failure,
            latest,
        } = ended;
        // No span outlives its parent, even if the connection's task reports a little later.
        let at = at.max(latest);
        for (_, stage) in stages {
            stage.close(at, None);
        }
        let some = |bytes: u64| i64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        record!(
            &attempt,
            "http.request.body.size" = some(sent_bytes),
            "http.response.status_code" = answered.map(|(status, _)| i64::from(status.as_u16())),
            "http.response.body.size" = some(received_bytes),
            "network.peer.address" = peer.map(|peer| values::ip(peer.ip())).or(socket),
            "network.peer.port" = peer.map(|peer| i64::from(peer.port())),
            "network.protocol.version" = answered
                .and_then(|(_, version)| version)
                .map(values::version),
        );
        if let Some(diagnosis) = &failure {
            mark(&attempt, diagnosis);
        }
        attempt.end(at);
    }

    fn call(&self) -> Option<Span> {
        self.0.as_deref()?.call.get()
    }

    /// Calls the function with the open spans, unless no span is enabled or the attempt has ended. Subscribers are
    /// called outside of the lock: a subscriber may block, and must not delay the deadline of another call.
    fn with<T>(&self, what: impl FnOnce(&mut OpenSpans) -> T) -> Option<T> {
        let mut open = lock(&self.0.as_deref()?.open);
        open.as_mut().map(what)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
