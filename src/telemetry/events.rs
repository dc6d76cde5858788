//! What guards leave on the span of a call.

use std::net::IpAddr;

use tracing::{Level, Span, event};

use super::spans::TARGET;
use crate::hop::What;

/// What happened between two attempts.
pub(crate) fn note(call: &Span, what: &What) {
    match what {
        What::Waited { wait, asked } => event!(
            target: TARGET,
            parent: call,
            Level::INFO,
            sevenhops.wait.duration = wait.as_secs_f64(),
            sevenhops.wait.asked = asked,
            "waited"
        ),
        What::Redirected { status, url } => event!(
            target: TARGET,
            parent: call,
            Level::INFO,
            http.response.status_code = i64::from(status.as_u16()),
            url.full = url,
            "redirected"
        ),
        What::Replayed => event!(target: TARGET, parent: call, Level::INFO, "key replayed"),
        What::Refused(guard) => event!(
            target: TARGET,
            parent: call,
            Level::WARN,
            sevenhops.guard = guard.as_str(),
            "refused"
        ),
        What::Chaos { mishap, late } => event!(
            target: TARGET,
            parent: call,
            Level::WARN,
            sevenhops.chaos.mishap = mishap.as_str(),
            sevenhops.chaos.late = late.map(|late| late.as_secs_f64()),
            "chaos"
        ),
    }
}

pub(super) fn stale_dns(call: &Span) {
    event!(target: TARGET, parent: call, Level::WARN, "stale dns");
}

pub(super) fn set_aside(call: &Span, address: IpAddr) {
    event!(
        target: TARGET,
        parent: call,
        Level::WARN,
        network.peer.address = %address,
        "address set aside"
    );
}
