//! Every name that telemetry uses, in tables: the docs print them, tests hold them against what is
//! emitted.

/// A span, and the fields that it may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanName {
    /// Its name.
    pub name: &'static str,
    /// The span that it is part of, if it is one of ours.
    pub parent: Option<&'static str>,
    /// Its fields.
    pub fields: &'static [&'static str],
}

/// An event on the span of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventName {
    /// Its message.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [&'static str],
}

/// A metric (feature `otel`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Histogram, counter or gauge.
    pub instrument: &'static str,
    /// Its unit, in UCUM.
    pub unit: &'static str,
    /// What may tell its series apart.
    pub attributes: &'static [&'static str],
    /// What it says.
    pub what: &'static str,
}

/// Fields, and those of a failure.
macro_rules! and_failure {
    ($($field:literal),* $(,)?) => {
        &[
            $($field,)*
            "sevenhops.hop",
            "sevenhops.kind",
            "sevenhops.effect",
            "error.type",
            "otel.status_code",
        ]
    };
}

/// What tells calls apart, and more.
macro_rules! of_call {
    ($($more:literal),* $(,)?) => {
        &[
            "sevenhops.destination",
            "server.address",
            "server.port",
            "http.request.method",
            "url.scheme",
            "url.template",
            $($more,)*
        ]
    };
}

/// The spans, in the order of the journey.
pub const SPANS: &[SpanName] = &[
    span("encode", None, &["sevenhops.kind", "otel.status_code"]),
    span(
        "call",
        None,
        and_failure![
            "otel.name",
            "otel.kind",
            "http.request.method",
            "server.address",
            "server.port",
            "url.template",
            "sevenhops.attempts",
            "sevenhops.not_repeated",
        ],
    ),
    span(
        "attempt",
        Some("call"),
        and_failure![
            "otel.name",
            "otel.kind",
            "http.request.method",
            "http.request.method_original",
            "http.request.resend_count",
            "http.request.body.size",
            "http.response.status_code",
            "http.response.body.size",
            "server.address",
            "server.port",
            "url.full",
            "url.template",
            "network.peer.address",
            "network.peer.port",
            "network.protocol.version",
        ],
    ),
    span(
        "dns",
        Some("attempt"),
        and_failure!["dns.question.name", "dns.answers"],
    ),
    span(
        "connect",
        Some("attempt"),
        and_failure![
            "network.peer.address",
            "network.peer.port",
            "network.transport",
            "network.type",
            "sevenhops.queued",
        ],
    ),
    span(
        "tls",
        Some("attempt"),
        and_failure![
            "tls.protocol.name",
            "tls.protocol.version",
            "tls.next_protocol",
            "tls.resumed",
        ],
    ),
    span("send", Some("attempt"), and_failure![]),
    span("wait", Some("attempt"), and_failure![]),
    span("receive", Some("attempt"), and_failure![]),
    span("decode", Some("call"), and_failure![]),
    span(
        "operation",
        None,
        and_failure![
            "otel.name",
            "otel.kind",
            "sevenhops.destination",
            "sevenhops.attempts",
            "sevenhops.not_repeated",
        ],
    ),
    span(
        "operation attempt",
        Some("operation"),
        and_failure!["otel.kind", "sevenhops.resend_count"],
    ),
];

/// The events on the span of a call.
pub const EVENTS: &[EventName] = &[
    event(
        "waited",
        &["sevenhops.wait.duration", "sevenhops.wait.asked"],
    ),
    event("redirected", &["http.response.status_code", "url.full"]),
    event("key replayed", &[]),
    event("caller retry", &["sevenhops.caller.try"]),
    event("refused", &["sevenhops.policy"]),
    event(
        "circuit",
        &[
            "sevenhops.destination",
            "sevenhops.breaker.event",
            "sevenhops.breaker.cause",
            "sevenhops.breaker.open_time",
        ],
    ),
    event("chaos", &["sevenhops.chaos.mishap", "sevenhops.chaos.late"]),
    event("stale dns", &[]),
    event("address set aside", &["network.peer.address"]),
];

/// The metrics.
pub const METRICS: &[Metric] = &[
    REQUEST_DURATION,
    LOOK_UP_DURATION,
    SET_UP_DURATION,
    TIME_IN_QUEUE,
    OPEN_CONNECTIONS,
    HOP_DURATION,
    CALL_DURATION,
    ATTEMPTS,
    REPEATS,
    NOT_REPEATED,
    REFUSALS,
    STALE,
    EFFECT_POSSIBLE,
    BUDGET_LEFT,
    BREAKER_STATE,
    BREAKER_EVENTS,
];

pub(crate) const REQUEST_DURATION: Metric = metric(
    "http.client.request.duration",
    ("histogram", "s"),
    &[
        "server.address",
        "server.port",
        "http.request.method",
        "url.scheme",
        "url.template",
        "http.response.status_code",
        "network.protocol.version",
        "error.type",
    ],
    "How long an attempt took, to the last byte of its answer.",
);

pub(crate) const LOOK_UP_DURATION: Metric = metric(
    "dns.lookup.duration",
    ("histogram", "s"),
    &["dns.question.name", "error.type"],
    "How long a name was waited for; what the cache has is not waited for.",
);

pub(crate) const SET_UP_DURATION: Metric = metric(
    "sevenhops.connection.setup.duration",
    ("histogram", "s"),
    &["server.address", "server.port"],
    "How long a connection took to stand, its TLS included.",
);

pub(crate) const TIME_IN_QUEUE: Metric = metric(
    "http.client.request.time_in_queue",
    ("histogram", "s"),
    &["server.address", "server.port"],
    "How long an attempt waited for the connection of another call, instead of making one.",
);

pub(crate) const OPEN_CONNECTIONS: Metric = metric(
    "http.client.open_connections",
    (UP_DOWN_COUNTER, "{connection}"),
    &["server.address", "server.port"],
    "Connections that are open, idle or not.",
);

pub(crate) const HOP_DURATION: Metric = metric(
    "sevenhops.hop.duration",
    ("histogram", "s"),
    &[
        "server.address",
        "server.port",
        "sevenhops.stage",
        "sevenhops.kind",
    ],
    "How long a hop took, and how it failed.",
);

pub(crate) const CALL_DURATION: Metric = metric(
    "sevenhops.call.duration",
    ("histogram", "s"),
    of_call!["sevenhops.outcome", "error.type", "sevenhops.hop"],
    "How long a call took, with its attempts and waits.",
);

pub(crate) const ATTEMPTS: Metric = metric(
    "sevenhops.call.attempts",
    ("histogram", "{attempt}"),
    of_call![],
    "How many attempts a call took.",
);

pub(crate) const REPEATS: Metric = metric(
    "sevenhops.call.repeats",
    ("counter", "{attempt}"),
    of_call!["error.type"],
    "Repeats, by the failure that was repeated.",
);

pub(crate) const NOT_REPEATED: Metric = metric(
    "sevenhops.call.not_repeated",
    ("counter", "{call}"),
    of_call!["sevenhops.reason"],
    "Failed calls, by the reason why they were not repeated.",
);

pub(crate) const REFUSALS: Metric = metric(
    "sevenhops.refusals",
    ("counter", "{refusal}"),
    of_call!["sevenhops.policy"],
    "What policies let not through.",
);

pub(crate) const STALE: Metric = metric(
    "sevenhops.dns.stale",
    ("counter", "{attempt}"),
    &["server.address", "server.port"],
    "Attempts on a DNS answer that was over.",
);

pub(crate) const EFFECT_POSSIBLE: Metric = metric(
    "sevenhops.call.effect_possible",
    ("counter", "{call}"),
    of_call!["error.type", "sevenhops.hop"],
    "Failed calls that may have happened.",
);

pub(crate) const BUDGET_LEFT: Metric = metric(
    "sevenhops.budget.left",
    ("gauge", "{attempt}"),
    &["sevenhops.destination"],
    "Repeats that the calls to a destination can afford.",
);

pub(crate) const BREAKER_STATE: Metric = metric(
    "sevenhops.breaker.state",
    ("gauge", "1"),
    &["sevenhops.destination", "sevenhops.breaker.state"],
    "One for the state that a circuit is in, zero for the others.",
);

pub(crate) const BREAKER_EVENTS: Metric = metric(
    "sevenhops.breaker.events",
    ("counter", "{event}"),
    &["sevenhops.destination", "sevenhops.breaker.event"],
    "Circuits that opened, half-opened, closed or rejected.",
);

pub(crate) const UP_DOWN_COUNTER: &str = "up-down counter";

const fn span(
    name: &'static str,
    parent: Option<&'static str>,
    fields: &'static [&'static str],
) -> SpanName {
    SpanName {
        name,
        parent,
        fields,
    }
}

const fn event(name: &'static str, fields: &'static [&'static str]) -> EventName {
    EventName { name, fields }
}

const fn metric(
    name: &'static str,
    (instrument, unit): (&'static str, &'static str),
    attributes: &'static [&'static str],
    what: &'static str,
) -> Metric {
    Metric {
        name,
        instrument,
        unit,
        attributes,
        what,
    }
}
