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
        ],
    ),
    span(
        "tls",
        Some("attempt"),
        and_failure!["tls.protocol.name", "tls.protocol.version"],
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
    event("refused", &["sevenhops.guard"]),
    event("chaos", &["sevenhops.chaos.mishap", "sevenhops.chaos.late"]),
    event("stale dns", &[]),
    event("address set aside", &["network.peer.address"]),
];

/// The metrics.
pub const METRICS: &[Metric] = &[
    REQUEST_DURATION,
    LOOK_UP_DURATION,
    SET_UP_DURATION,
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
];

pub(super) const REQUEST_DURATION: Metric = Metric {
    name: "http.client.request.duration",
    instrument: "histogram",
    unit: "s",
    attributes: &[
        "server.address",
        "server.port",
        "http.request.method",
        "url.scheme",
        "url.template",
        "http.response.status_code",
        "network.protocol.version",
        "error.type",
    ],
    what: "How long an attempt took, to the last byte of its answer.",
};

pub(super) const LOOK_UP_DURATION: Metric = Metric {
    name: "dns.lookup.duration",
    instrument: "histogram",
    unit: "s",
    attributes: &["dns.question.name", "error.type"],
    what: "How long a name was waited for; what the cache has is not waited for.",
};

pub(super) const SET_UP_DURATION: Metric = Metric {
    name: "sevenhops.connection.setup.duration",
    instrument: "histogram",
    unit: "s",
    attributes: &["server.address", "server.port"],
    what: "How long a connection took to stand, its TLS included.",
};

pub(super) const OPEN_CONNECTIONS: Metric = Metric {
    name: "http.client.open_connections",
    instrument: UP_DOWN_COUNTER,
    unit: "{connection}",
    attributes: &["server.address", "server.port"],
    what: "Connections that are open, idle or not.",
};

pub(super) const HOP_DURATION: Metric = Metric {
    name: "sevenhops.hop.duration",
    instrument: "histogram",
    unit: "s",
    attributes: &[
        "server.address",
        "server.port",
        "sevenhops.hop",
        "sevenhops.kind",
    ],
    what: "How long a hop took, and how it failed.",
};

pub(super) const CALL_DURATION: Metric = Metric {
    name: "sevenhops.call.duration",
    instrument: "histogram",
    unit: "s",
    attributes: &[
        "sevenhops.destination",
        "server.address",
        "server.port",
        "http.request.method",
        "url.scheme",
        "url.template",
        "error.type",
        "sevenhops.hop",
    ],
    what: "How long a call took, with its attempts and waits.",
};

pub(super) const ATTEMPTS: Metric = Metric {
    name: "sevenhops.call.attempts",
    instrument: "histogram",
    unit: "{attempt}",
    attributes: &[
        "sevenhops.destination",
        "server.address",
        "server.port",
        "http.request.method",
        "url.scheme",
        "url.template",
    ],
    what: "How many attempts a call took.",
};

pub(super) const REPEATS: Metric = Metric {
    name: "sevenhops.call.repeats",
    instrument: "counter",
    unit: "{attempt}",
    attributes: &[
        "sevenhops.destination",
        "server.address",
        "server.port",
        "http.request.method",
        "url.scheme",
        "url.template",
        "error.type",
    ],
    what: "Repeats, by the failure that was repeated.",
};

pub(super) const NOT_REPEATED: Metric = Metric {
    name: "sevenhops.call.not_repeated",
    instrument: "counter",
    unit: "{call}",
    attributes: &[
        "sevenhops.destination",
        "server.address",
        "server.port",
        "http.request.method",
        "url.scheme",
        "url.template",
        "sevenhops.reason",
    ],
    what: "Failed calls, by the reason why they were not repeated.",
};

pub(super) const REFUSALS: Metric = Metric {
    name: "sevenhops.refusals",
    instrument: "counter",
    unit: "{refusal}",
    attributes: &[
        "sevenhops.destination",
        "server.address",
        "server.port",
        "http.request.method",
        "url.scheme",
        "url.template",
        "sevenhops.guard",
    ],
    what: "What guards let not through.",
};

pub(super) const STALE: Metric = Metric {
    name: "sevenhops.dns.stale",
    instrument: "counter",
    unit: "{attempt}",
    attributes: &["server.address", "server.port"],
    what: "Attempts on a DNS answer that was over.",
};

pub(super) const EFFECT_POSSIBLE: Metric = Metric {
    name: "sevenhops.call.effect_possible",
    instrument: "counter",
    unit: "{call}",
    attributes: &[
        "sevenhops.destination",
        "server.address",
        "server.port",
        "http.request.method",
        "url.scheme",
        "url.template",
        "error.type",
        "sevenhops.hop",
    ],
    what: "Failed calls that may have happened.",
};

pub(super) const BUDGET_LEFT: Metric = Metric {
    name: "sevenhops.budget.left",
    instrument: "gauge",
    unit: "{attempt}",
    attributes: &["sevenhops.destination"],
    what: "Repeats that the calls to a destination can afford.",
};

pub(super) const BREAKER_STATE: Metric = Metric {
    name: "sevenhops.breaker.state",
    instrument: "gauge",
    unit: "1",
    attributes: &["sevenhops.destination", "sevenhops.breaker.state"],
    what: "One for the state that a circuit is in, zero for the others.",
};

pub(super) const UP_DOWN_COUNTER: &str = "up-down counter";

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
