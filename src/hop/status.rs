//! The wait ends with a status: who gave it, and what it says about the effect.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, VIA};

use super::said::{PROXY_STATUS, Proxy, age, proxies};
use super::{Effect, Hop, Kind};

/// The idempotency key of a request, as far as a status can be about it: only one that the far side
/// is known to honour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyed {
    /// None, or nobody vouched for it.
    No,
    /// It was made for this call, and cannot have been seen before this attempt.
    Fresh,
    /// It was made for this call, and an earlier attempt may have got through.
    Again,
    /// The caller brought or derived it: another request may have carried it, in another process.
    Given,
}

/// What a status says of the call. `None` where it is no failure.
pub(crate) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    keyed: Keyed,
) -> Option<(Hop, Kind, Effect)> {
    if status.as_u16() < 400 {
        return None;
    }
    let proxies = proxies(headers);
    let author = || author(status, headers, &proxies);
    let (hop, kind) = match (status.as_u16(), keyed) {
        // These two are about the key, and only the service knows it.
        (409, Keyed::Again | Keyed::Given) => {
            return Some((Hop::Server, Kind::InProgress, Effect::Possible));
        }
        (422, Keyed::Given) => return Some((Hop::Server, Kind::KeyReused, Effect::None)),
        (502, _) => (Hop::Gateway, Kind::BadGateway),
        (504, _) => (Hop::Gateway, Kind::Timeout),
        // Only a proxy says this (RFC 9110 §15.5.8).
        (407, _) => (Hop::Gateway, Kind::ProxyUnauthorized),
        (503, _) => (author(), Kind::Unavailable),
        (500.., _) => (author(), Kind::Failed),
        (429, _) => (author(), Kind::Throttled),
        (401 | 403, _) => (author(), Kind::Unauthorized),
        _ => (author(), Kind::Rejected),
    };
    let mut made = proxies.iter().filter(|proxy| proxy.made(status));
    let effect = match status.as_u16() {
        500.. => Effect::Possible,
        // Unlike the other 4xx these two do not prove that nothing happened: some middleboxes say
        // 408 for "the service took too long", and 409 is also "your first request is still being
        // worked on". Where the key was made for this attempt, nobody can be working on it: it is a
        // conflict of its own.
        408 => Effect::Possible,
        409 if keyed != Keyed::Fresh => Effect::Possible,
        // A proxy's word for something that went wrong when the request was on its way already.
        _ if made.any(Proxy::may_have_sent) => Effect::Possible,
        _ => Effect::None,
    };
    Some((hop, kind, effect))
}

/// Who gave a response, as its head says: a gateway, or the server.
#[cfg(feature = "client")]
pub(crate) fn author_of(status: StatusCode, headers: &HeaderMap) -> Hop {
    author(status, headers, &proxies(headers))
}

/// Who gave an answer of a failing status that could be the service's own: a middlebox in these cases,
/// else the service.
///
/// | the head says | with |
/// |---|---|
/// | `Proxy-Status`: an error (RFC 9209 §2.3) after which a proxy answers for itself | any failing status |
/// | `Age` above zero (RFC 9111 §5.1): the service was not asked | 5xx |
/// | `Via` or `Proxy-Status`, and not that the proxy received this status | 503 |
///
/// `Via` alone says that the answer was passed on, not who made it: an origin's 500 comes with it too.
/// A 503 is what gateways say most on their own account.
fn author(status: StatusCode, headers: &HeaderMap, proxies: &[Proxy]) -> Hop {
    let made = proxies.iter().any(|proxy| proxy.made(status));
    let stored = || status.is_server_error() && age(headers) > Some(Duration::ZERO);
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

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::hop::name;

    #[test]
    fn statuses_are_told_apart_by_who_gave_them() {
        let via = HeaderMap::from_iter([(VIA, "1.1 edge".parse().unwrap())]);
        let marked = HeaderMap::from_iter([(PROXY_STATUS, "edge".parse().unwrap())]);
        let plain = HeaderMap::new();
        for (status, headers, expected) in [
            (
                502,
                &plain,
                (Hop::Gateway, Kind::BadGateway, Effect::Possible),
            ),
            (504, &plain, (Hop::Gateway, Kind::Timeout, Effect::Possible)),
            (
                503,
                &via,
                (Hop::Gateway, Kind::Unavailable, Effect::Possible),
            ),
            (
                503,
                &marked,
                (Hop::Gateway, Kind::Unavailable, Effect::Possible),
            ),
            (
                503,
                &plain,
                (Hop::Server, Kind::Unavailable, Effect::Possible),
            ),
            (500, &via, (Hop::Server, Kind::Failed, Effect::Possible)),
            (501, &plain, (Hop::Server, Kind::Failed, Effect::Possible)),
            (429, &plain, (Hop::Server, Kind::Throttled, Effect::None)),
            (401, &plain, (Hop::Server, Kind::Unauthorized, Effect::None)),
            (403, &plain, (Hop::Server, Kind::Unauthorized, Effect::None)),
            (400, &plain, (Hop::Server, Kind::Rejected, Effect::None)),
            (413, &plain, (Hop::Server, Kind::Rejected, Effect::None)),
            (425, &plain, (Hop::Server, Kind::Rejected, Effect::None)),
            (408, &plain, (Hop::Server, Kind::Rejected, Effect::Possible)),
            (409, &plain, (Hop::Server, Kind::Rejected, Effect::Possible)),
        ] {
            let judged = judge(StatusCode::from_u16(status).unwrap(), headers, Keyed::No);
            assert_eq!(judged, Some(expected), "{status}");
        }
    }

    fn saying(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect::<Vec<(HeaderName, _)>>()
            .into_iter()
            .collect()
    }

    #[test]
    fn who_gave_a_status_is_told_by_what_the_head_says() {
        use Hop::{Gateway, Server};
        const VIA: (&str, &str) = ("via", "1.1 edge");
        let says = |value| ("proxy-status", value);
        for (status, lines, expected) in [
            // A proxy answers for itself.
            (
                500,
                &[says("edge; error=proxy_internal_error")][..],
                Gateway,
            ),
            (
                500,
                &[says("origin-side, edge; error=dns_timeout")],
                Gateway,
            ),
            (500, &[says("edge; error=http_response_timeout")], Gateway),
            (501, &[says("edge; error=some_new_error")], Gateway),
            (
                403,
                &[says("edge; error=http_request_denied"), VIA],
                Gateway,
            ),
            (401, &[says("edge; error=http_request_denied")], Gateway),
            (400, &[says("edge; error=http_request_error")], Gateway),
            (408, &[says("edge; error=http_request_error")], Gateway),
            (
                429,
                &[says("edge; error=connection_limit_reached")],
                Gateway,
            ),
            (
                500,
                &[says("edge; error=http_response_incomplete")],
                Gateway,
            ),
            // It passed on what it received.
            (
                500,
                &[says(
                    "edge; error=http_response_incomplete; received-status=500",
                )],
                Server,
            ),
            (404, &[says("edge; error=http_response_body_size")], Server),
            (503, &[says("edge; received-status=503"), VIA], Server),
            (500, &[says("edge; received-status=500")], Server),
            (500, &[says("edge")], Server),
            (500, &[VIA], Server),
            (429, &[VIA, says("edge")], Server),
            // It received something else, or does not say what.
            (503, &[says("edge; received-status=200")], Gateway),
            (503, &[says("edge"), VIA], Gateway),
            (503, &[VIA], Gateway),
            // Out of a cache.
            (500, &[("age", "30")], Gateway),
            (503, &[("age", "1")], Gateway),
            (500, &[("age", "0")], Server),
            (500, &[("age", "soon")], Server),
            (404, &[("age", "30")], Server),
            // What cannot be read says nothing; that it is there marks a 503 all the same.
            (500, &[says("edge; error=")], Server),
            (500, &[says("edge; error=\"dns_timeout\"")], Server),
            (503, &[says("edge; error=")], Gateway),
            // By the status alone.
            (502, &[says("edge; received-status=502")], Gateway),
            (504, &[], Gateway),
            (407, &[], Gateway),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let (hop, ..) = judge(status, &saying(lines), Keyed::No).unwrap();
            assert_eq!(hop, expected, "{status} {lines:?}");
        }
    }

    #[test]
    fn proxy_that_may_have_sent_the_request_on_leaves_the_effect_open() {
        for (status, value, expected) in [
            (403, "edge; error=http_request_denied", Effect::None),
            (400, "edge; error=http_request_error", Effect::None),
            (429, "edge; error=connection_limit_reached", Effect::None),
            (400, "edge; error=connection_terminated", Effect::Possible),
            (400, "edge; error=proxy_internal_error", Effect::Possible),
            (429, "edge; error=some_new_error", Effect::Possible),
            (429, "edge; error=http_response_timeout", Effect::Possible),
            (429, "edge", Effect::None),
            (404, "edge; error=http_response_body_size", Effect::None),
            (503, "edge; error=http_request_denied", Effect::Possible),
            (502, "edge; error=connection_refused", Effect::Possible),
        ] {
            let headers = saying(&[("proxy-status", value)]);
            let status = StatusCode::from_u16(status).unwrap();
            let (.., effect) = judge(status, &headers, Keyed::No).unwrap();
            assert_eq!(effect, expected, "{status} {value}");
        }
    }

    #[test]
    fn every_failing_status_has_its_row_in_the_table_of_names() {
        let gateway = saying(&[("proxy-status", "edge; error=proxy_internal_error")]);
        for status in 400..=999 {
            for headers in [&HeaderMap::new(), &gateway] {
                for keyed in [Keyed::No, Keyed::Fresh, Keyed::Again, Keyed::Given] {
                    let code = StatusCode::from_u16(status).unwrap();
                    let (hop, kind, _) = judge(code, headers, keyed).unwrap();
                    assert_ne!(
                        name(hop, kind).error_type,
                        "_OTHER",
                        "{status} {hop} {kind}"
                    );
                }
            }
        }
    }

    #[test]
    fn success_and_redirection_are_no_failures() {
        for status in [100, 200, 204, 301, 304, 399] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(judge(status, &HeaderMap::new(), Keyed::No), None);
        }
    }

    #[test]
    fn honoured_key_says_what_a_conflict_is() {
        let plain = HeaderMap::new();
        let rejected = (Kind::Rejected, Effect::None);
        let in_progress = (Kind::InProgress, Effect::Possible);
        for (status, keyed, expected) in [
            (409, Keyed::No, (Kind::Rejected, Effect::Possible)),
            (409, Keyed::Fresh, rejected),
            (409, Keyed::Again, in_progress),
            (409, Keyed::Given, in_progress),
            (422, Keyed::No, rejected),
            (422, Keyed::Fresh, rejected),
            (422, Keyed::Again, rejected),
            (422, Keyed::Given, (Kind::KeyReused, Effect::None)),
            (400, Keyed::Given, rejected),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let (hop, kind, effect) = judge(status, &plain, keyed).unwrap();
            assert_eq!((hop, (kind, effect)), (Hop::Server, expected), "{status}");
        }
    }
}
