use opentelemetry::metrics::{Counter, Histogram, Meter};

use crate::telemetry::names::{self, MetricName};

/// The instruments that record at the end of a call.
#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) request: Histogram<f64>,
    pub(super) lookup: Histogram<f64>,
    pub(super) setup: Histogram<f64>,
    pub(super) time_in_queue: Histogram<f64>,
    pub(super) hop: Histogram<f64>,
    pub(super) call: Histogram<f64>,
    pub(super) attempts: Histogram<u64>,
    pub(super) retries: Counter<u64>,
    pub(super) no_retry_reason: Counter<u64>,
    pub(super) hedges: Counter<u64>,
    pub(super) not_hedged: Counter<u64>,
    pub(super) rejections: Counter<u64>,
    pub(super) policy_wait: Histogram<f64>,
    pub(super) stale: Counter<u64>,
    pub(super) stale_age: Histogram<f64>,
    pub(super) fallbacks: Counter<u64>,
    pub(super) effect_possible: Counter<u64>,
    pub(super) breaker_events: Counter<u64>,
}

impl Instruments {
    pub(super) fn of(meter: &Meter) -> Self {
        let seconds = |metric: &MetricName, bounds: &[f64]| {
            meter
                .f64_histogram(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.description)
                .with_boundaries(bounds.to_vec())
                .build()
        };
        let counter = |metric: &MetricName| {
            meter
                .u64_counter(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.description)
                .build()
        };
        Self {
            request: seconds(&names::REQUEST_DURATION, SECONDS),
            lookup: seconds(&names::LOOKUP_DURATION, SECONDS),
            setup: seconds(&names::SETUP_DURATION, SECONDS),
            time_in_queue: seconds(&names::TIME_IN_QUEUE, SECONDS),
            hop: seconds(&names::HOP_DURATION, SHORT_SECONDS),
            call: seconds(&names::CALL_DURATION, SECONDS),
            attempts: meter
                .u64_histogram(names::ATTEMPTS.name)
                .with_unit(names::ATTEMPTS.unit)
                .with_description(names::ATTEMPTS.description)
                .with_boundaries(COUNTS.to_vec())
                .build(),
            retries: counter(&names::RETRIES),
            no_retry_reason: counter(&names::NOT_RETRIED),
            hedges: counter(&names::HEDGES),
            not_hedged: counter(&names::NOT_HEDGED),
            rejections: counter(&names::REJECTIONS),
            policy_wait: seconds(&names::POLICY_WAIT, SHORT_SECONDS),
            stale: counter(&names::STALE),
            stale_age: seconds(&names::STALE_AGE, LONG_SECONDS),
            fallbacks: counter(&names::FALLBACKS),
            effect_possible: counter(&names::EFFECT_POSSIBLE),
            breaker_events: counter(&names::BREAKER_EVENTS),
        }
    }
}

/// The buckets that OpenTelemetry's conventions recommend for HTTP and DNS.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// A hop can take less time than the first of those buckets.
const SHORT_SECONDS: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// A stale response may be older than any call is long.
const LONG_SECONDS: &[f64] = &[
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0,
];
const COUNTS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 8.0];
