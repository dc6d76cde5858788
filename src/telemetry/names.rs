//! Every name that telemetry uses, in tables. The docs print them, and tests compare them with the emitted names.

mod entry;
mod load;

pub use self::entry::{EventName, MetricName, SpanName};
use self::entry::{event, metric, span};
pub(crate) use self::load::{CONCURRENCY, THROTTLE};

/// Adds the fields of a failure to a list.
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

/// Adds the attributes of a call to a list.
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

/// The spans, in the order of a call.
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
            "sevenhops.no_retry_reason",
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
            "sevenhops.no_retry_reason",
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
        &["sevenhops.wait.duration", "sevenhops.wait.hinted"],
    ),
    event("redirected", &["http.response.status_code", "url.full"]),
    event("failed over", &["url.full"]),
    event("key replayed", &[]),
    event("caller retry", &["sevenhops.caller.try"]),
    event("queued", &["sevenhops.policy", "sevenhops.wait.duration"]),
    event("local share", &[]),
    event("rejected", &["sevenhops.policy"]),
    event("hedged", &["sevenhops.hedge.after"]),
    event("not hedged", &["sevenhops.no_retry_reason"]),
    event("stale response", &["sevenhops.stale.age", "error.type"]),
    event("fallback", &["error.type"]),
    event(
        "circuit",
        &[
            "sevenhops.destination",
            "sevenhops.breaker.event",
            "sevenhops.breaker.cause",
            "sevenhops.breaker.open_time",
        ],
    ),
    event(
        "rate limit store",
        &["sevenhops.store.event", "sevenhops.store.failure"],
    ),
    event("chaos", &["sevenhops.chaos.fault", "sevenhops.chaos.delay"]),
    event("stale dns", &[]),
    event("address set aside", &["network.peer.address"]),
    event("affinity moved", &["network.peer.address"]),
];

/// The metrics.
pub const METRICS: &[MetricName] = &[
    REQUEST_DURATION,
    LOOKUP_DURATION,
    SETUP_DURATION,
    TIME_IN_QUEUE,
    OPEN_CONNECTIONS,
    HOP_DURATION,
    CALL_DURATION,
    ATTEMPTS,
    RETRIES,
    NOT_RETRIED,
    HEDGES,
    NOT_HEDGED,
    REJECTIONS,
    POLICY_WAIT,
    STALE,
    STALE_AGE,
    FALLBACKS,
    EFFECT_POSSIBLE,
    BUDGET_LEFT,
    BREAKER_STATE,
    BREAKER_EVENTS,
    CONCURRENCY[0],
    CONCURRENCY[1],
    CONCURRENCY[2],
    THROTTLE[0],
    THROTTLE[1],
];

pub(crate) const REQUEST_DURATION: MetricName = metric(
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
    "Duration of an attempt, to the last byte of its response.",
);

pub(crate) const LOOKUP_DURATION: MetricName = metric(
    "dns.lookup.duration",
    ("histogram", "s"),
    &["dns.question.name", "error.type"],
    "Duration of a DNS lookup; cached names do not count.",
);

pub(crate) const SETUP_DURATION: MetricName = metric(
    "sevenhops.connection.setup.duration",
    ("histogram", "s"),
    &["server.address", "server.port"],
    "Duration of a connection setup, TLS included.",
);

pub(crate) const TIME_IN_QUEUE: MetricName = metric(
    "http.client.request.time_in_queue",
    ("histogram", "s"),
    &["server.address", "server.port"],
    "Time that an attempt waited for the connection of another call.",
);

pub(crate) const OPEN_CONNECTIONS: MetricName = metric(
    "http.client.open_connections",
    (UP_DOWN_COUNTER, "{connection}"),
    &["http.connection.state", "server.address", "server.port"],
    "Open connections, by state: active or idle.",
);

pub(crate) const HOP_DURATION: MetricName = metric(
    "sevenhops.hop.duration",
    ("histogram", "s"),
    &[
        "server.address",
        "server.port",
        "sevenhops.stage",
        "sevenhops.kind",
    ],
    "Duration of a hop, and its failure.",
);

pub(crate) const CALL_DURATION: MetricName = metric(
    "sevenhops.call.duration",
    ("histogram", "s"),
    of_call!["sevenhops.outcome", "error.type", "sevenhops.hop"],
    "Duration of a call, with its attempts and waits.",
);

pub(crate) const ATTEMPTS: MetricName = metric(
    "sevenhops.call.attempts",
    ("histogram", "{attempt}"),
    of_call![],
    "Number of attempts of a call.",
);

pub(crate) const RETRIES: MetricName = metric(
    "sevenhops.call.retries", // words:allow term: the name of a metric
    ("counter", "{attempt}"),
    of_call!["error.type"],
    "Retries, by the failure that was retried.",
);

pub(crate) const NOT_RETRIED: MetricName = metric(
    "sevenhops.call.not_retried",
    ("counter", "{call}"),
    of_call!["sevenhops.no_retry_reason"],
    "Failed calls, also those with a substitute, by the reason why they were not retried.",
);

pub(crate) const HEDGES: MetricName = metric(
    "sevenhops.call.hedges",
    ("counter", "{attempt}"),
    of_call!["sevenhops.outcome"],
    "Hedges, by what became of them.",
);

pub(crate) const NOT_HEDGED: MetricName = metric(
    "sevenhops.call.not_hedged",
    ("counter", "{call}"),
    of_call!["sevenhops.no_retry_reason"],
    "Slow calls, by the reason why they were not hedged.",
);

pub(crate) const REJECTIONS: MetricName = metric(
    "sevenhops.rejections",
    ("counter", "{rejection}"),
    of_call!["sevenhops.policy"],
    "Requests rejected by a policy.",
);

pub(crate) const POLICY_WAIT: MetricName = metric(
    "sevenhops.policy.wait.duration",
    ("histogram", "s"),
    of_call!["sevenhops.policy"],
    "Time that a call waited for a policy, until it was sent or rejected.",
);

pub(crate) const STALE: MetricName = metric(
    "sevenhops.dns.stale",
    ("counter", "{attempt}"),
    &["server.address", "server.port"],
    "Attempts that used an expired DNS answer.",
);

pub(crate) const STALE_AGE: MetricName = metric(
    "sevenhops.stale.age",
    ("histogram", "s"),
    of_call!["error.type"],
    "Age of a stale response that was served: the window of inconsistency.",
);

pub(crate) const FALLBACKS: MetricName = metric(
    "sevenhops.call.fallbacks",
    ("counter", "{call}"),
    of_call!["error.type"],
    "Failed calls that a fallback answered, by their failure.",
);

pub(crate) const EFFECT_POSSIBLE: MetricName = metric(
    "sevenhops.call.effect_possible",
    ("counter", "{call}"),
    of_call!["error.type", "sevenhops.hop"],
    "Failed calls, also those with a substitute, that may have had an effect.",
);

pub(crate) const BUDGET_LEFT: MetricName = metric(
    "sevenhops.budget.left",
    ("gauge", "{attempt}"),
    &["sevenhops.destination"],
    "Retries left in the budget of a destination.",
);

pub(crate) const BREAKER_STATE: MetricName = metric(
    "sevenhops.breaker.state",
    ("gauge", "1"),
    &["sevenhops.destination", "sevenhops.breaker.state"],
    "One for the current state of a circuit, zero for the others.",
);

pub(crate) const BREAKER_EVENTS: MetricName = metric(
    "sevenhops.breaker.events",
    ("counter", "{event}"),
    &["sevenhops.destination", "sevenhops.breaker.event"],
    "Changes and rejections of circuits.",
);

pub(crate) const UP_DOWN_COUNTER: &str = "up-down counter";
