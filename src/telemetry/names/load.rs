//! The metrics of the policies that bound the load of a destination.

use super::entry::{MetricName, metric};

/// The limit, the attempts in flight, and the calls that wait.
pub(crate) const CONCURRENCY: [MetricName; 3] = [
    metric(
        "sevenhops.concurrency.limit",
        ("gauge", "{attempt}"),
        &["sevenhops.destination"],
        "Attempts to a destination that may be in flight.",
    ),
    metric(
        "sevenhops.concurrency.in_flight",
        ("gauge", "{attempt}"),
        &["sevenhops.destination"],
        "Attempts to a destination that are in flight.",
    ),
    metric(
        "sevenhops.concurrency.queued",
        ("gauge", "{call}"),
        &["sevenhops.destination"],
        "Calls that wait for a permit of a destination.",
    ),
];

/// The attempts of a window, and those of them that were accepted.
pub(crate) const THROTTLE: [MetricName; 2] = [
    metric(
        "sevenhops.throttle.requests",
        ("gauge", "{attempt}"),
        &["sevenhops.destination"],
        "Attempts in the window of a throttle, those that it rejected included.",
    ),
    metric(
        "sevenhops.throttle.accepts",
        ("gauge", "{attempt}"),
        &["sevenhops.destination"],
        "Attempts in the window of a throttle that the destination accepted.",
    ),
];
