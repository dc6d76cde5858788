//! The events of policies on the span of a call.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tracing::Level;

use super::macros::event;
use super::span::{Span, TARGET};
use crate::hop::{Outcome, TimelineEventKind};

/// Reports an event that a policy made between two attempts.
pub(crate) fn note(call: &Span, what: &TimelineEventKind) {
    match what {
        TimelineEventKind::Waited { wait, hinted } => event!(
            call,
            Level::INFO,
            "waited",
            "sevenhops.wait.duration" = wait.as_secs_f64(),
            "sevenhops.wait.hinted" = *hinted,
        ),
        TimelineEventKind::Redirected { status, url } => event!(
            call,
            Level::INFO,
            "redirected",
            "http.response.status_code" = i64::from(status.as_u16()),
            "url.full" = url.clone(),
        ),
        TimelineEventKind::FailedOver { url } => {
            event!(call, Level::WARN, "failed over", "url.full" = url.clone(),)
        }
        TimelineEventKind::Replayed => event!(call, Level::INFO, "key replayed"),
        TimelineEventKind::CallerRetry { number } => event!(
            call,
            Level::INFO,
            "caller retry",
            "sevenhops.caller.try" = i64::from(*number),
        ),
        TimelineEventKind::Queued { policy, wait } => event!(
            call,
            Level::INFO,
            "queued",
            "sevenhops.policy" = policy.as_str(),
            "sevenhops.wait.duration" = wait.as_secs_f64(),
        ),
        TimelineEventKind::LocalShare => event!(call, Level::INFO, "local share"),
        TimelineEventKind::Rejected(policy) => event!(
            call,
            Level::WARN,
            "rejected",
            "sevenhops.policy" = policy.as_str(),
        ),
        TimelineEventKind::Hedged { after } => event!(
            call,
            Level::INFO,
            "hedged",
            "sevenhops.hedge.after" = after.as_secs_f64(),
        ),
        TimelineEventKind::NotHedged(reason) => event!(
            call,
            Level::INFO,
            "not hedged",
            "sevenhops.no_retry_reason" = reason.as_str(),
        ),
        TimelineEventKind::Stale { age, instead_of } => event!(
            call,
            Level::WARN,
            "stale response",
            "sevenhops.stale.age" = age.as_secs_f64(),
            "error.type" = instead_of.as_ref().and_then(type_of),
        ),
        TimelineEventKind::Fallback { instead_of } => {
            let error_type = type_of(instead_of);
            event!(call, Level::WARN, "fallback", "error.type" = error_type);
        }
        TimelineEventKind::Chaos { fault, delay } => event!(
            call,
            Level::WARN,
            "chaos",
            "sevenhops.chaos.fault" = fault.as_str(),
            "sevenhops.chaos.delay" = delay.map(|delay| delay.as_secs_f64()),
        ),
    }
}

fn type_of(failed: &Outcome) -> Option<String> {
    failed.error_type().map(Cow::into_owned)
}

/// Reports a change of a destination's circuit: the name, the change, the reason, and the open time.
pub(crate) fn circuit(
    call: &Span,
    (destination, change): (&str, &'static str),
    (cause, open): (Option<&dyn fmt::Display>, Option<Duration>),
) {
    event!(
        call,
        Level::WARN,
        "circuit",
        "sevenhops.destination" = destination.to_owned(),
        "sevenhops.breaker.event" = change,
        "sevenhops.breaker.cause" = cause.map(ToString::to_string),
        "sevenhops.breaker.open_time" = open.map(|open| open.as_secs_f64()),
    );
}

/// Reports that the store of a rate limit failed, or that it responds again.
pub(crate) fn rate_limit_store(
    call: &Span,
    change: &'static str,
    failure: Option<&dyn fmt::Display>,
) {
    event!(
        call,
        Level::WARN,
        "rate limit store",
        "sevenhops.store.event" = change,
        "sevenhops.store.failure" = failure.map(ToString::to_string),
    );
}

pub(super) fn stale_dns(call: &Span) {
    event!(call, Level::WARN, "stale dns");
}

pub(super) fn set_aside(call: &Span, address: IpAddr) {
    event!(
        call,
        Level::WARN,
        "address set aside",
        "network.peer.address" = address.to_string(),
    );
}

pub(super) fn affinity_moved(call: &Span, address: IpAddr) {
    event!(
        call,
        Level::WARN,
        "affinity moved",
        "network.peer.address" = address.to_string(),
    );
}
