//! Reads from a status which party gave it, and the effect.

use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VIA};

use super::server_report::{PROXY_STATUS, ProxyStatus, age, proxies};
use super::{Effect, Hop, Kind};

/// The idempotency key of a request, if the server is known to honor it. The kind of a failure can depend on it. The
/// effect does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyed {
    /// There is no key, or the server is not known to honor it.
    No,
    /// The client generated the key for this call: the server has seen it only with this request.
    Made,
    /// The caller supplied or derived the key: another request may have used it, even in another process.
    Given,
}

/// Returns the effect of a request that got this response.
///
/// | status | effect |
/// |---|---|
/// | 2xx | done; for gRPC by the code, and possible until the trailers have it |
/// | 307, 308, 421: the request belongs elsewhere | declined |
/// | other 3xx | declined for a safe method, else possible |
/// | 408, 409, 424, 499 | possible |
/// | other 4xx | declined |
/// | 1xx as the final response, 5xx, and 600 and above, which are invalid (RFC 9110 §15) | possible |
/// | a declined status with a `Proxy-Status` error after which the request may have been forwarded | possible |
///
/// A server also sends 408 if the service took too long, and 424 if a part of the work may be done. A proxy sends 499
/// if its client disconnected. A 409 may concern a copy of the same request that a gateway sent first.
pub(crate) fn effect_of_response(status: StatusCode, headers: &HeaderMap, is_safe: bool) -> Effect {
    match status.as_u16() {
        200..300 if is_grpc(headers) => effect_of_grpc(headers, None),
        200..300 => Effect::Done,
        408 | 409 | 424 | 499 => Effect::Possible,
        307 | 308 | 400..500 => unless_forwarded(status, headers),
        300..400 if is_safe => unless_forwarded(status, headers),
        _ => Effect::Possible,
    }
}

/// Returns the effect of a request that got a 2xx which is a failure. In gRPC the code shows it: 3, 5, 7, 8, 9, 11, 12
/// and 16 decline the request.
pub(crate) fn effect_of_failed_success(
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
) -> Effect {
    match grpc_code(headers, trailers) {
        Some(3 | 5 | 7 | 8 | 9 | 11 | 12 | 16) => Effect::Declined,
        _ => Effect::Possible,
    }
}

/// Returns the effect of a gRPC request by its code: from the trailers, or from the head if there is nothing else.
pub(crate) fn effect_of_grpc(headers: &HeaderMap, trailers: Option<&HeaderMap>) -> Effect {
    match grpc_code(headers, trailers) {
        Some(0) => Effect::Done,
        _ => effect_of_failed_success(headers, trailers),
    }
}

/// Returns whether a message is gRPC's: its media type begins with `application/grpc`. gRPC-Web has another form.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Returns the code of a gRPC response: from its trailers, or from its head if there is nothing else.
pub(crate) fn grpc_code(headers: &HeaderMap, trailers: Option<&HeaderMap>) -> Option<u32> {
    let value = trailers.and_then(|trailers| trailers.get(&GRPC_STATUS));
    let text = value.or_else(|| headers.get(&GRPC_STATUS))?.to_str().ok()?;
    text.parse().ok()
}

/// Returns `Possible` if a proxy reports an error that came after it may have forwarded the request.
fn unless_forwarded(status: StatusCode, headers: &HeaderMap) -> Effect {
    let proxies = proxies(headers);
    let mut made = proxies.iter().filter(|proxy| proxy.made(status));
    if made.any(ProxyStatus::may_have_sent) {
        Effect::Possible
    } else {
        Effect::Declined
    }
}

/// Returns whether a status is a failure.
pub(crate) const fn is_failure(status: StatusCode) -> bool {
    status.as_u16() >= 400
}

/// Returns the hop, kind and effect of a failing status. `None` if the status is not a failure.
pub(crate) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    keyed: Keyed,
) -> Option<(Hop, Kind, Effect)> {
    if !is_failure(status) {
        return None;
    }
    let author = || author(status, headers);
    let (hop, kind) = match (status.as_u16(), keyed) {
        // These two statuses concern the key, and only the service knows the key.
        (409, Keyed::Made | Keyed::Given) => (Hop::Server, Kind::InProgress),
        (422, Keyed::Given) => (Hop::Server, Kind::KeyReused),
        (502, _) => (Hop::Gateway, Kind::BadGateway),
        (504, _) => (Hop::Gateway, Kind::Timeout),
        // Only a proxy sends this status (RFC 9110 §15.5.8).
        (407, _) => (Hop::Gateway, Kind::ProxyUnauthorized),
        (503, _) => (author(), Kind::Unavailable),
        (500.., _) => (author(), Kind::ServerError),
        (429, _) => (author(), Kind::Throttled),
        (401 | 403, _) => (author(), Kind::Unauthorized),
        (412, _) => (author(), Kind::PreconditionFailed),
        (428, _) => (author(), Kind::PreconditionRequired),
        _ => (author(), Kind::ClientError),
    };
    // The method affects the effect of redirects only, and a failing status is not a redirect.
    Some((hop, kind, effect_of_response(status, headers, false)))
}

/// Returns the party that gave a response, by its head: a gateway, or the server.
#[cfg(feature = "client")]
pub(crate) fn author_of(status: StatusCode, headers: &HeaderMap) -> Hop {
    author(status, headers)
}

/// Returns the party that gave a failing status. It is a middlebox in these cases, else the service.
///
/// | the head says | with |
/// |---|---|
/// | `Proxy-Status`: an error (RFC 9209 §2.3) after which a proxy makes the response itself | any failing status |
/// | `Age` above zero (RFC 9111 §5.1): no request reached the service | 5xx |
/// | `Via` or `Proxy-Status`, and no statement that the proxy received this status | 503 |
///
/// `Via` alone shows that a middlebox forwarded the response, not which party made it: it also comes with an origin's
/// 500. For a 503 it counts, because gateways often make a 503 themselves.
fn author(status: StatusCode, headers: &HeaderMap) -> Hop {
    let proxies = proxies(headers);
    let made = proxies.iter().any(|proxy| proxy.made(status));
    let stored = || status.as_u16() >= 500 && age(headers) > Some(Duration::ZERO);
    let passed_on = || {
        let mut received = proxies.iter().filter_map(|proxy| proxy.received_status);
        received.any(|received| received == status)
    };
    let marked = || headers.contains_key(VIA) || headers.contains_key(&PROXY_STATUS);
    let unavailable = || status == StatusCode::SERVICE_UNAVAILABLE && marked() && !passed_on();
    if made || stored() || unavailable() {
        Hop::Gateway
    } else {
        Hop::Server
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
