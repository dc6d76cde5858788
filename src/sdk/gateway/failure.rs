//! The responses that the gateway makes itself. Pure.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::error::Error;

/// Returns the response to a call that failed: problem details (RFC 9457), and the same facts as headers.
pub(super) fn failed(error: &Error) -> Response<Full<Bytes>> {
    let status = match error.is_timeout() {
        true => StatusCode::GATEWAY_TIMEOUT,
        false => StatusCode::BAD_GATEWAY,
    };
    let hop = error.hop().map(|hop| hop.to_string());
    let (kind, effect) = (error.kind().to_string(), error.effect().to_string());
    let mut problem = json!({
        "kind": kind,
        "effect": effect,
        "attempts": error.attempts(),
        "detail": error.to_string(),
    });
    if let Some(hop) = &hop {
        problem["hop"] = hop.as_str().into();
    }
    let mut response = respond(status, problem);
    let wait = error.retry_after().map(|wait| {
        // Rounded up: an earlier retry would be rejected.
        wait.as_millis().div_ceil(1_000).to_string()
    });
    let facts = [
        (HOP, hop),
        (KIND, Some(kind)),
        (EFFECT, Some(effect)),
        (RETRY_AFTER, wait),
    ];
    for (name, fact) in facts {
        let value = fact.and_then(|fact| HeaderValue::try_from(fact).ok());
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Returns the response to a request that the gateway does not send.
pub(super) fn refused(status: StatusCode) -> Response<Full<Bytes>> {
    let detail = match status {
        StatusCode::NOT_FOUND => {
            "The path does not begin with the path of the gateway's URL. If the client joins URLs, end its base URL \
             with a slash."
        }
        _ => "The gateway did not send the request.",
    };
    respond(status, json!({ "detail": detail }))
}

fn respond(status: StatusCode, mut problem: Value) -> Response<Full<Bytes>> {
    problem["title"] = status.canonical_reason().unwrap_or_default().into();
    problem["status"] = status.as_u16().into();
    let mut response = Response::new(Full::from(problem.to_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Removes the headers that only the gateway may set: a response of the upstream with them would look like a failure.
pub(super) fn remove_facts(headers: &mut HeaderMap) {
    for name in [HOP, KIND, EFFECT] {
        headers.remove(name);
    }
}

const HOP: HeaderName = HeaderName::from_static("sevenhops-hop");
const KIND: HeaderName = HeaderName::from_static("sevenhops-kind");
const EFFECT: HeaderName = HeaderName::from_static("sevenhops-effect");
