//! Every field of every config with a bad value, and the message that refuses it.

/// The section of a file, its field, a bad value as written in the file, and the message.
pub(super) type Row = (&'static str, &'static str, &'static str);

pub(super) const ROWS: &[Row] = &[
    (
        "deadline",
        r#""9ms""#,
        "9ms is invalid: expected 10ms..=86400s",
    ),
    (
        "deadline",
        r#""25h""#,
        "90000s is invalid: expected 10ms..=86400s",
    ),
    (
        "timeouts.attempt",
        r#""0s""#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "timeouts.attempt",
        r#""11s""#,
        "11s is invalid: expected at most deadline (10s)",
    ),
    (
        "timeouts.dns",
        r#""0s""#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "timeouts.dns",
        r#""6s""#,
        "6s is invalid: expected at most timeouts.attempt (5s)",
    ),
    (
        "timeouts.connect",
        r#""6s""#,
        "6s is invalid: expected at most timeouts.attempt (5s)",
    ),
    (
        "timeouts.tls",
        r#""6s""#,
        "6s is invalid: expected at most timeouts.attempt (5s)",
    ),
    (
        "timeouts.send",
        r#""6s""#,
        "6s is invalid: expected at most timeouts.attempt (5s)",
    ),
    (
        "timeouts.first_byte",
        r#""6s""#,
        "6s is invalid: expected at most timeouts.attempt (5s)",
    ),
    (
        "timeouts.body_idle",
        r#""6s""#,
        "6s is invalid: expected at most timeouts.attempt (5s)",
    ),
    (
        "idempotency.header",
        r#""content-length""#,
        r#""content-length" is invalid: expected a header that HTTP does not use otherwise"#,
    ),
    ("retry.attempts", "0", "0 is invalid: expected 1..=255"),
    ("retry.attempts", "256", "256 is invalid: expected 1..=255"),
    (
        "retry.unsent_attempts",
        "0",
        "0 is invalid: expected 1..=255",
    ),
    ("hedge.max_hedges", "0", "0 is invalid: expected 1..=10"),
    (
        "hedge.max_hedges",
        "3",
        "3 is invalid: expected less than retry.attempts (3)",
    ),
    (
        "hedge.quantile",
        "1.0",
        "1.0 is invalid: expected 0.5 to 0.999",
    ),
    (
        "hedge.delay",
        r#""0s""#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "hedge.delay",
        r#""10s""#,
        "10s is invalid: expected less than deadline (10s)",
    ),
    (
        "retry.max_hint",
        r#""0s""#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "retry.statuses",
        "[200]",
        "200 is invalid: expected 400..=599",
    ),
    (
        "retry.backoff.base",
        r#""0s""#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "retry.backoff.base",
        r#""6s""#,
        "6s is invalid: expected at most retry.backoff.cap (5s)",
    ),
    (
        "retry.backoff.cap",
        r#""0s""#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "retry.backoff.minimum",
        r#""6s""#,
        "6s is invalid: expected at most retry.backoff.cap (5s)",
    ),
    (
        "retry.backoff.growth.exponential",
        "0.9",
        "0.9 is invalid: expected 1 to 100",
    ),
    (
        "retry.backoff.growth.exponential",
        "100.1",
        "100.1 is invalid: expected 1 to 100",
    ),
    (
        "retry.backoff.jitter.proportional",
        "0",
        "0.0 is invalid: expected more than 0, at most 1",
    ),
    (
        "retry.budget.ratio",
        "-0.1",
        "-0.1 is invalid: expected 0 to 1000",
    ),
    (
        "retry.budget.window",
        r#""61s""#,
        "61s is invalid: expected 1s..=60s",
    ),
    (
        "circuit_breaker.failure_ratio",
        "0",
        "0.0 is invalid: expected more than 0, at most 1",
    ),
    (
        "circuit_breaker.failure_ratio",
        "1.5",
        "1.5 is invalid: expected more than 0, at most 1",
    ),
    (
        "circuit_breaker.min_attempts",
        "0",
        "0 is invalid: expected at least 1",
    ),
    (
        "circuit_breaker.window.time",
        r#""9s""#,
        "9s is invalid: expected at least twice timeouts.attempt (5s)",
    ),
    (
        "circuit_breaker.window.time",
        r#""49h""#,
        "176400s is invalid: expected more than 0s, at most 172800s",
    ),
    (
        "circuit_breaker.window.count",
        "10001",
        "10001 is invalid: expected 1..=10000",
    ),
    (
        "circuit_breaker.window.count",
        "19",
        "19 is invalid: expected at least circuit_breaker.min_attempts (20)",
    ),
    (
        "circuit_breaker.consecutive_failures",
        "0",
        "0 is invalid: expected at least 1",
    ),
    (
        "circuit_breaker.slow_threshold",
        r#""0s""#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "circuit_breaker.slow_threshold",
        r#""11s""#,
        "11s is invalid: expected at most deadline (10s)",
    ),
    (
        "circuit_breaker.slow_ratio",
        "0.5",
        "0.5 is invalid: expected no ratio without circuit_breaker.slow_threshold",
    ),
    (
        "circuit_breaker.break_duration",
        r#""0s""#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "circuit_breaker.break_duration",
        r#""180s""#,
        "180s is invalid: expected at most circuit_breaker.max_break_duration (120s)",
    ),
    (
        "circuit_breaker.break_duration_factor",
        "0.5",
        "0.5 is invalid: expected 1 to 100",
    ),
    (
        "circuit_breaker.break_durations",
        "[]",
        "[] is invalid: expected a time for each opening: none was given, or the function panicked",
    ),
    (
        "circuit_breaker.break_durations",
        r#"["180s"]"#,
        "180s is invalid: expected at most circuit_breaker.max_break_duration (120s)",
    ),
    (
        "circuit_breaker.max_break_duration",
        r#""25h""#,
        "90000s is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "circuit_breaker.recovery.successes",
        "0",
        "0 is invalid: expected 1..=64",
    ),
    (
        "circuit_breaker.recovery.successes",
        "65",
        "65 is invalid: expected 1..=64",
    ),
    (
        "circuit_breaker.recovery.ramp",
        r#"{"step": "0s"}"#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
];

/// Values that are bad only together with others.
pub(super) const TOGETHER: &[Row] = &[
    (
        "destinations.\"pay.internal\".retry",
        r#"{"deadline": "2s", "endpoints": {"pay.internal": {"urls": [{"url": "https://a.test"}]}},
            "destinations": {"pay.internal": {"deadline": "1s", "retry": {"attempts": 2}}}}"#,
        "it is overruled for a logical name: set it for the hosts of its endpoints",
    ),
    (
        "stale.body_bytes",
        r#"{"deadline": "2s", "stale": {"store_bytes": 1048576, "body_bytes": 1048576}}"#,
        "1048576 is invalid: expected 1..=524288, half of stale.store_bytes",
    ),
    (
        "stale.shared",
        r#"{"deadline": "2s", "stale": {"shared": true}}"#,
        "it needs a store: set stale.store_bytes",
    ),
    (
        "stale.consistency.stale_for",
        r#"{"deadline": "2s", "stale": {"consistency": {"stale_for": "5s"}}}"#,
        "it needs a store: set stale.store_bytes",
    ),
    (
        "stale.while_revalidate",
        r#"{"deadline": "2s", "stale": {"store_bytes": 1048576, "while_revalidate": "5s",
            "consistency": {"stale_for": "3s"}}}"#,
        "5s is invalid: expected at most stale.consistency.stale_for (3s)",
    ),
    (
        "retry.backoff.base",
        r#"{"deadline": "2s", "retry": {"backoff": {"base": "3s"}}}"#,
        "3s is invalid: expected at most deadline (2s)",
    ),
    (
        "retry.backoff.minimum",
        r#"{"deadline": "2s", "retry": {"backoff": {"minimum": "3s"}}}"#,
        "3s is invalid: expected at most deadline (2s)",
    ),
    (
        "retry.backoff.minimum",
        r#"{"deadline": "9s", "retry": {"backoff": {"first_at_once": true, "minimum": "1s"}}}"#,
        "1s is invalid: expected 0ns beside first_at_once",
    ),
    (
        "retry.backoff.growth",
        r#"{"deadline": "9s", "retry": {"backoff": {"jitter": "decorrelated", "growth": "linear"}}}"#,
        "Linear is invalid: expected no growth beside decorrelated jitter",
    ),
    (
        "retry.budget.reserve.tokens",
        r#"{"deadline": "9s", "retry": {"budget": {"reserve": {"tokens": 9}}}}"#,
        "9 is invalid: expected at least retry.budget.reserve.timeout_cost (10)",
    ),
    (
        "retry.budget.reserve.tokens",
        r#"{"deadline": "9s", "retry": {"budget": {"reserve": {"tokens": 1000001}}}}"#,
        "1000001 is invalid: expected 1..=1000000",
    ),
    (
        "retry.budget.reserve.cost",
        r#"{"deadline": "9s", "retry": {"budget": {"reserve": {"tokens": 9, "cost": 0}}}}"#,
        "0 is invalid: expected at least 1",
    ),
    (
        "retry.budget.reserve.timeout_cost",
        r#"{"deadline": "9s", "retry": {"budget": {"reserve": {"tokens": 9, "timeout_cost": 0}}}}"#,
        "0 is invalid: expected at least 1",
    ),
    (
        "retry.budget.throttle.tokens",
        r#"{"deadline": "9s", "retry": {"budget": {"throttle": {"tokens": 1001, "ratio": 1}}}}"#,
        "1001 is invalid: expected 1..=1000",
    ),
    (
        "retry.budget.throttle.ratio",
        r#"{"deadline": "9s", "retry": {"budget": {"throttle": {"tokens": 10, "ratio": 0}}}}"#,
        "0.0 is invalid: expected more than 0, at most 1000",
    ),
    (
        "redirect.max_redirects",
        r#"{"deadline": "9s", "redirect": {"enabled": false, "max_redirects": 5}}"#,
        "5 is invalid: expected no value where redirect.enabled is false",
    ),
    (
        "redirect.keep_header_cross_origin",
        r#"{"deadline": "9s", "redirect": {"enabled": false, "keep_header_cross_origin": ["x-a"]}}"#,
        r#"["x-a"] is invalid: expected no value where redirect.enabled is false"#,
    ),
    (
        "circuit_breaker.slow_threshold",
        r#"{"deadline": "9s", "timeouts": {"attempt": "1s"}, "circuit_breaker": {"slow_threshold": "2s"}}"#,
        "2s is invalid: expected at most timeouts.attempt (1s)",
    ),
    (
        "circuit_breaker.slow_ratio",
        r#"{"deadline": "9s", "circuit_breaker": {"slow_threshold": "2s", "slow_ratio": 7}}"#,
        "7.0 is invalid: expected more than 0, at most 1",
    ),
    (
        "circuit_breaker.break_durations",
        r#"{"deadline": "9s", "circuit_breaker": {"break_durations": ["1s"], "break_duration_factor": 3}}"#,
        "[1s] is invalid: expected no times beside circuit_breaker.break_duration or circuit_breaker.break_duration_factor",
    ),
    (
        "circuit_breaker.recovery.ramp.step",
        r#"{"deadline": "9s", "circuit_breaker": {"recovery": {"ramp": {"step": "0s"}}}}"#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "circuit_breaker.recovery.ratio.probes",
        r#"{"deadline": "9s", "circuit_breaker": {"recovery": {"ratio": {"probes": 0, "failure_ratio": 1}}}}"#,
        "0 is invalid: expected 1..=64",
    ),
    (
        "circuit_breaker.recovery.ratio.failure_ratio",
        r#"{"deadline": "9s", "circuit_breaker": {"recovery": {"ratio": {"probes": 1, "failure_ratio": 2}}}}"#,
        "2.0 is invalid: expected more than 0, at most 1",
    ),
];

/// Fields for which every readable value is valid.
pub(super) const ANY: &[&str] = &[
    "hedge.enabled",
    "hedge.same_address",
    "idempotency.honored_by",
    "idempotency.honored_by_all",
    "idempotency.generate_keys",
    "idempotency.quoted",
    "redirect.enabled",
    "retry.backoff.first_at_once",
    "retry.backoff.jitter",
    "retry.budget.min_retries_per_second",
    "retry.budget.unlimited",
    "retry.only_for",
    "retry.should_retry_header",
    "circuit_breaker.observe_only",
    "circuit_breaker.count_throttled_as_failure",
    "propagate_deadline",
];
