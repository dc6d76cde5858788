//! The same for the policies that bound the load of a destination, for redirects and for stale responses.

use super::bad::Row;

pub(super) const ROWS: &[Row] = &[
    (
        "throttle.multiplier",
        "0.9",
        "0.9 is invalid: expected 1 to 100",
    ),
    (
        "throttle.window",
        r#""999ms""#,
        "999ms is invalid: expected 1s to 86400s",
    ),
    (
        "concurrency.limit",
        "0",
        "0 is invalid: expected 1..=100000",
    ),
    (
        "concurrency.limit",
        "201",
        "201 is invalid: expected at most concurrency.max_limit (200)",
    ),
    (
        "concurrency.min_limit",
        "0",
        "0 is invalid: expected 1..=100000",
    ),
    (
        "concurrency.max_limit",
        "100001",
        "100001 is invalid: expected 1..=100000",
    ),
    (
        "concurrency.max_queued",
        "10001",
        "10001 is invalid: expected 0..=10000",
    ),
    (
        "concurrency.max_wait",
        r#""10s""#,
        "10s is invalid: expected less than deadline (10s)",
    ),
    (
        "rate_limit.requests",
        "0",
        "0 is invalid: expected at least 1",
    ),
    (
        "redirect.max_redirects",
        "0",
        "0 is invalid: expected 1..=50; to follow none, set `enabled` to false",
    ),
    (
        "redirect.max_redirects",
        "51",
        "51 is invalid: expected 1..=50; to follow none, set `enabled` to false",
    ),
    (
        "stale.store_bytes",
        "1",
        "1 is invalid: expected 65536..=68719476736",
    ),
];

/// The path in the message, the file, and the message.
pub(super) const TOGETHER: &[Row] = &[
    (
        "concurrency.min_limit",
        r#"{"deadline": "10s", "concurrency": {"algorithm": "fixed", "min_limit": 2}}"#,
        "2 is invalid: expected no bound beside concurrency.algorithm = fixed",
    ),
    (
        "concurrency.max_wait",
        r#"{"deadline": "10s", "concurrency": {"max_queued": 0, "max_wait": "1s"}}"#,
        "1s is invalid: expected no wait beside concurrency.max_queued = 0",
    ),
    (
        "rate_limit.requests",
        r#"{"deadline": "10s", "rate_limit": {}}"#,
        "it is missing: set how many requests are sent in each rate_limit.per",
    ),
    (
        "rate_limit.per",
        r#"{"deadline": "10s", "rate_limit": {"requests": 1, "per": "0s"}}"#,
        "0ns is invalid: expected more than 0s, at most 86400s",
    ),
    (
        "rate_limit.burst",
        r#"{"deadline": "10s", "rate_limit": {"requests": 1, "burst": 0}}"#,
        "0 is invalid: expected at least 1",
    ),
    (
        "rate_limit.max_wait",
        r#"{"deadline": "10s", "rate_limit": {"requests": 1, "max_wait": "10s"}}"#,
        "10s is invalid: expected less than deadline (10s)",
    ),
    (
        "rate_limit.max_wait",
        r#"{"deadline": "10s", "rate_limit": {"requests": 1, "wait": false, "max_wait": "1s"}}"#,
        "1s is invalid: expected no wait beside rate_limit.wait = false",
    ),
    (
        "destinations.\"pay.internal\".hedge",
        r#"{"deadline": "2s", "endpoints": {"pay.internal": {"urls": [{"url": "https://a.test"}]}},
            "destinations": {"pay.internal": {"deadline": "1s", "hedge": {"delay": "100ms"}}}}"#,
        "it is overruled for a logical name: set it for the hosts of its endpoints",
    ),
    (
        "destinations.\"pay.internal\".throttle",
        r#"{"deadline": "2s", "endpoints": {"pay.internal": {"urls": [{"url": "https://a.test"}]}},
            "destinations": {"pay.internal": {"deadline": "1s", "throttle": {}}}}"#,
        "it is overruled for a logical name: set it for the hosts of its endpoints",
    ),
    (
        "destinations.\"pay.internal\".concurrency",
        r#"{"deadline": "2s", "endpoints": {"pay.internal": {"urls": [{"url": "https://a.test"}]}},
            "destinations": {"pay.internal": {"deadline": "1s", "concurrency": {"limit": 2}}}}"#,
        "it is overruled for a logical name: set it for the hosts of its endpoints",
    ),
    (
        "destinations.\"pay.internal\".rate_limit",
        r#"{"deadline": "2s", "endpoints": {"pay.internal": {"urls": [{"url": "https://a.test"}]}},
            "destinations": {"pay.internal": {"deadline": "1s", "rate_limit": {"requests": 2}}}}"#,
        "it is overruled for a logical name: set it for the hosts of its endpoints",
    ),
];

/// Fields for which every readable value is valid.
pub(super) const ANY: &[&str] = &[
    "throttle.enabled",
    "concurrency.enabled",
    "concurrency.algorithm",
    "rate_limit.enabled",
    "rate_limit.wait",
    "rate_limit.server_informed",
];
