//! Writes one attempt as an entry of an HTTP archive.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::clock;
use crate::hop::{Outcome, Stage, TimelineEventKind};
use crate::record::KeptHeaders;
use crate::timeline::waterfall::describe;
use crate::timeline::{Attempt, StageTiming, Timeline};

/// Returns the entries of a call, each with its start time.
pub(super) fn entries(timeline: &Timeline) -> Vec<(String, Value)> {
    let mut attempts = timeline.attempts();
    if timeline.method().is_none() {
        // An operation is not a request, but the calls inside it are.
        let calls = attempts.iter().flat_map(|attempt| &attempt.calls);
        return calls.flat_map(entries).collect();
    }
    if attempts.is_empty() {
        attempts.push(none(timeline));
    }
    let mut before = Duration::ZERO;
    let mut entries = Vec::with_capacity(attempts.len());
    for attempt in &attempts {
        // The time between two attempts belongs to the second.
        let begun = before.min(attempt.start);
        before = attempt.start + attempt.duration;
        let started = clock::rfc3339(timeline.started_at() + begun);
        let mut entry = entry(timeline, attempt, attempt.start - begun);
        entry["startedDateTime"] = started.as_str().into();
        entries.push((started, entry));
    }
    if let Some((_, last)) = entries.last_mut() {
        last["comment"] = ending(timeline).into();
    }
    entries
}

/// Returns a placeholder attempt for a call that ended before its first attempt.
fn none(timeline: &Timeline) -> Attempt {
    Attempt {
        duration: timeline.elapsed(),
        outcome: timeline.outcome().unwrap_or(Outcome::Pending),
        ..Attempt::default()
    }
}

/// Returns the end of the call, and why it was not retried.
fn ending(timeline: &Timeline) -> String {
    let ending = describe(&timeline.outcome().unwrap_or(Outcome::Pending));
    match timeline.no_retry_reason() {
        Some(reason) => format!("{ending}; not retried: {reason}"),
        None => ending,
    }
}

fn entry(timeline: &Timeline, attempt: &Attempt, waited: Duration) -> Value {
    let (request, response) = (request(timeline, attempt), response(timeline, attempt));
    let (time, timings) = times(attempt, waited);
    let mut entry = json!({
        "time": time,
        "request": request,
        "response": response,
        "cache": {},
        "timings": timings,
        "_attempt": attempt.number,
    });
    let peer = attempt.peer.map(|peer| Value::from(peer.ip().to_string()));
    let port = attempt
        .peer
        .map(|peer| Value::from(peer.port().to_string()));
    let own_port = attempt
        .local
        .map(|local| Value::from(local.port().to_string()));
    let mut known = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            entry[name] = value;
        }
    };
    // Browsers write the remote port as `connection`, and identify connections by a field of their own.
    known("serverIPAddress", peer);
    known("connection", port);
    known("_connectionId", own_port);
    let socket = attempt.unix_socket.as_ref();
    known(
        "_unix_socket",
        socket.map(|path| path.display().to_string().into()),
    );
    known("_tls", attempt.tls.map(Value::from));
    known("_alpn", attempt.alpn.map(Value::from));
    known("_tls_resumed", attempt.tls_resumed.map(Value::from));
    known(
        "_service_ms",
        attempt.service_time().map(|took| millis(took).into()),
    );
    if let Outcome::Failed {
        hop, kind, effect, ..
    } = attempt.outcome
    {
        known("_hop", hop.map(|hop| hop.as_str().into()));
        known("_kind", Some(kind.as_str().into()));
        known("_effect", Some(effect.as_str().into()));
        known("_error_type", attempt.outcome.error_type().map(Value::from));
    }
    known("_hedge", attempt.is_hedge.then_some(true.into()));
    known("_lost", attempt.is_lost.then_some(true.into()));
    known("_chaos", injected_fault(timeline, attempt));
    known("_caller_try", callers_try(timeline));
    entry
}

/// Returns the fault that was injected into the attempt.
fn injected_fault(timeline: &Timeline, attempt: &Attempt) -> Option<Value> {
    let mut notes = timeline.events().into_iter();
    notes.find_map(|note| match note.kind {
        TimelineEventKind::Chaos { fault, .. } if note.attempts as usize == attempt.number => {
            Some(fault.as_str().into())
        }
        _ => None,
    })
}

/// Returns the number of the caller's try, from the second on.
fn callers_try(timeline: &Timeline) -> Option<Value> {
    let mut notes = timeline.events().into_iter();
    notes.find_map(|note| match note.kind {
        TimelineEventKind::CallerRetry { number } => Some(number.into()),
        _ => None,
    })
}

fn request(timeline: &Timeline, attempt: &Attempt) -> Value {
    let method = attempt.method.as_ref().or_else(|| timeline.method());
    let sent = attempt.taken.then_some(attempt.sent_bytes);
    json!({
        "method": method.map_or("", Method::as_str),
        "url": absolute(attempt.url.clone().unwrap_or_else(|| timeline.url())),
        "httpVersion": version(attempt),
        // Cookies and queries are secrets.
        "cookies": [],
        "headers": kept(attempt, |kept| &kept.request),
        "queryString": [],
        "headersSize": -1,
        "bodySize": size(sent),
    })
}

fn response(timeline: &Timeline, attempt: &Attempt) -> Value {
    let status = attempt.status;
    let mut notes = timeline.events().into_iter();
    let redirect = notes.find_map(|note| match note.kind {
        TimelineEventKind::Redirected { url, .. } if note.attempts as usize == attempt.number => {
            Some(url)
        }
        _ => None,
    });
    let headers = kept(attempt, |kept| &kept.response);
    let mut mime_types = headers
        .iter()
        .filter(|header| header["name"] == "content-type");
    let mime_type = mime_types.next().map(|header| header["value"].clone());
    let mut response = json!({
        "status": status.map_or(0, |status| status.as_u16()),
        "statusText": status.as_ref().and_then(StatusCode::canonical_reason).unwrap_or_default(),
        "httpVersion": version(attempt),
        "cookies": [],
        "headers": headers,
        "content": {
            "size": attempt.received_bytes,
            "mimeType": mime_type.unwrap_or_else(|| "x-unknown".into()),
        },
        "redirectURL": redirect.unwrap_or_default(),
        "headersSize": -1,
        "bodySize": size(status.map(|_| attempt.received_bytes)),
    });
    if matches!(
        attempt.outcome,
        Outcome::Failed { status: None, .. } | Outcome::Cancelled
    ) {
        // Chromium's field for a response that did not arrive completely.
        response["_error"] = describe(&attempt.outcome).into();
    }
    response
}

/// Returns a URL, as the format requires. A request without an authority gets a placeholder.
fn absolute(url: String) -> String {
    if url.starts_with('/') {
        format!("unknown:{url}")
    } else {
        url
    }
}

fn version(attempt: &Attempt) -> String {
    let version = attempt.version.map(|version| format!("{version:?}"));
    version.unwrap_or_else(|| "unknown".to_owned())
}

fn kept(attempt: &Attempt, side: impl Fn(&KeptHeaders) -> &[(String, String)]) -> Vec<Value> {
    let headers = attempt.kept.as_deref().map(side).unwrap_or_default();
    let header = |(name, value): &(String, String)| json!({ "name": name, "value": value });
    headers.iter().map(header).collect()
}

/// Returns the time of an entry, and its parts. `ssl` is a part of `connect`. Parts that an attempt did not have are
/// −1, except for the three that every entry must have.
fn times(attempt: &Attempt, waited: Duration) -> (f64, Value) {
    let part = |stage: Stage| {
        let is_of = |row: &&StageTiming| row.stage == stage && !row.queued;
        let rows = attempt.stages.iter().filter(is_of);
        rows.map(|row| row.duration).reduce(|sum, row| sum + row)
    };
    let staged = attempt.stages.iter().filter(|row| !row.queued);
    let staged = staged.map(|row| row.duration).sum();
    // A wait for a connection is blocked time. Time outside of every stage was waiting, too.
    let blocked = waited + attempt.duration.saturating_sub(staged);
    let blocked = Some(blocked).filter(|blocked| !blocked.is_zero());
    let (dns, tls) = (part(Stage::Dns), part(Stage::Tls));
    let connect = part(Stage::Connect)
        .into_iter()
        .chain(tls)
        .reduce(|sum, part| sum + part);
    let [send, wait, receive] =
        [Stage::Send, Stage::Wait, Stage::Receive].map(|stage| part(stage).unwrap_or_default());
    let time = [blocked, dns, connect]
        .into_iter()
        .flatten()
        .sum::<Duration>()
        + send
        + wait
        + receive;
    let optional = |part: Option<Duration>| part.map_or(UNKNOWN, millis);
    let timings = json!({
        "blocked": optional(blocked),
        "dns": optional(dns),
        "connect": optional(connect),
        "ssl": optional(tls),
        "send": millis(send),
        "wait": millis(wait),
        "receive": millis(receive),
    });
    (millis(time), timings)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn size(bytes: Option<u64>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

const UNKNOWN: f64 = -1.0;
