//! The wait ends with a status: who gave it, and what it says about the effect.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, VIA};

use super::said::{PROXY_STATUS, Proxy, age, proxies};
use super::{Effect, Hop, Kind};

/// The idempotency key of a request, as far as the kind of a failure can be about it: only one that the
/// server is known to honor. The effect does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyed {
    /// None, or not known to be honored.
    No,
    /// It was made for this call: the server has seen it with this request alone.
    Made,
    /// The caller brought or derived it: another request may have carried it, in another process.
    Given,
}

/// The effect of a request that got this response.
///
/// | status | effect |
/// |---|---|
/// | 2xx | done |
/// | 307, 308, 421: the request belongs elsewhere | declined |
/// | other 3xx | declined for a safe method, else possible |
/// | 408, 409, 424, 499 | possible |
/// | other 4xx | declined |
/// | 1xx as the final response, 5xx, and 600 and above, which are invalid (RFC 9110 §15) | possible |
/// | what would be declined, with a `Proxy-Status` error after which the request may have been forwarded | possible |
///
/// 408 is also said where the service took too long, 499 where a proxy saw its client leave, 424 where a
/// part of the work may be done. A 409 may be about a copy of this very request that a gateway sent first.
pub(crate) fn effect_of_response(status: StatusCode, headers: &HeaderMap, is_safe: bool) -> Effect {
    match status.as_u16() {
        200..300 => Effect::Done,
        408 | 409 | 424 | 499 => Effect::Possible,
        307 | 308 | 400..500 => unless_forwarded(status, headers),
        300..400 if is_safe => unless_forwarded(status, headers),
        _ => Effect::Possible,
    }
}

/// A proxy's word for something that went wrong when the request was on its way already is no refusal.
fn unless_forwarded(status: StatusCode, headers: &HeaderMap) -> Effect {
    let proxies = proxies(headers);
    let mut made = proxies.iter().filter(|proxy| proxy.made(status));
    if made.any(Proxy::may_have_sent) {
        Effect::Possible
    } else {
        Effect::Declined
    }
}

/// What a status says of the call. `None` where it is not a failure.
pub(crate) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    keyed: Keyed,
) -> Option<(Hop, Kind, Effect)> {
    if status.as_u16() < 400 {
        return None;
    }
    let author = || author(status, headers);
    let (hop, kind) = match (status.as_u16(), keyed) {
        // These two are about the key, and only the service knows it.
        (409, Keyed::Made | Keyed::Given) => (Hop::Server, Kind::InProgress),
        (422, Keyed::Given) => (Hop::Server, Kind::KeyReused),
        (502, _) => (Hop::Gateway, Kind::BadGateway),
        (504, _) => (Hop::Gateway, Kind::Timeout),
        // Only a proxy says this (RFC 9110 §15.5.8).
        (407, _) => (Hop::Gateway, Kind::ProxyUnauthorized),
        (503, _) => (author(), Kind::Unavailable),
        (500.., _) => (author(), Kind::Failed),
        (429, _) => (author(), Kind::Throttled),
        (401 | 403, _) => (author(), Kind::Unauthorized),
        _ => (author(), Kind::ClientError),
    };
    // No failing status is a redirect, where alone the method counts.
    Some((hop, kind, effect_of_response(status, headers, false)))
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
            (
                429,
                &plain,
                (Hop::Server, Kind::Throttled, Effect::Declined),
            ),
            (
                401,
                &plain,
                (Hop::Server, Kind::Unauthorized, Effect::Declined),
            ),
            (
                403,
                &plain,
                (Hop::Server, Kind::Unauthorized, Effect::Declined),
            ),
            (
                400,
                &plain,
                (Hop::Server, Kind::ClientError, Effect::Declined),
            ),
            (
                413,
                &plain,
                (Hop::Server, Kind::ClientError, Effect::Declined),
            ),
            (
                425,
                &plain,
                (Hop::Server, Kind::ClientError, Effect::Declined),
            ),
            (
                408,
                &plain,
                (Hop::Server, Kind::ClientError, Effect::Possible),
            ),
            (
                409,
                &plain,
                (Hop::Server, Kind::ClientError, Effect::Possible),
            ),
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
            (403, "edge; error=http_request_denied", Effect::Declined),
            (400, "edge; error=http_request_error", Effect::Declined),
            (
                429,
                "edge; error=connection_limit_reached",
                Effect::Declined,
            ),
            (400, "edge; error=connection_terminated", Effect::Possible),
            (400, "edge; error=proxy_internal_error", Effect::Possible),
            (429, "edge; error=some_new_error", Effect::Possible),
            (429, "edge; error=http_response_timeout", Effect::Possible),
            (429, "edge", Effect::Declined),
            (404, "edge; error=http_response_body_size", Effect::Declined),
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
                for keyed in [Keyed::No, Keyed::Made, Keyed::Given] {
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
    fn every_status_from_600_on_counts_as_a_failure_of_the_server() {
        for status in 600..=999 {
            let status = StatusCode::from_u16(status).unwrap();
            let judged = judge(status, &HeaderMap::new(), Keyed::No);
            let expected = (Hop::Server, Kind::Failed, Effect::Possible);
            assert_eq!(judged, Some(expected), "{status}");
        }
    }

    #[test]
    fn honored_key_says_what_a_conflict_is() {
        let plain = HeaderMap::new();
        let client_error = (Kind::ClientError, Effect::Declined);
        let in_progress = (Kind::InProgress, Effect::Possible);
        for (status, keyed, expected) in [
            (409, Keyed::No, (Kind::ClientError, Effect::Possible)),
            (409, Keyed::Made, in_progress),
            (409, Keyed::Given, in_progress),
            (422, Keyed::No, client_error),
            (422, Keyed::Made, client_error),
            (422, Keyed::Given, (Kind::KeyReused, Effect::Declined)),
            (400, Keyed::Given, client_error),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let (hop, kind, effect) = judge(status, &plain, keyed).unwrap();
            assert_eq!((hop, (kind, effect)), (Hop::Server, expected), "{status}");
        }
    }

    /// The whole table: the ranges in which a status has this effect, for a safe and an unsafe method.
    const EFFECTS: &[(std::ops::RangeInclusive<u16>, [Effect; 2])] = {
        use Effect::{Declined, Done, Possible};
        &[
            (100..=199, [Possible, Possible]),
            (200..=299, [Done, Done]),
            (300..=306, [Declined, Possible]),
            (307..=308, [Declined, Declined]),
            (309..=399, [Declined, Possible]),
            (400..=407, [Declined, Declined]),
            (408..=409, [Possible, Possible]),
            (410..=423, [Declined, Declined]),
            (424..=424, [Possible, Possible]),
            (425..=498, [Declined, Declined]),
            (499..=499, [Possible, Possible]),
            (500..=999, [Possible, Possible]),
        ]
    };

    #[test]
    fn effect_of_every_status_for_safe_and_unsafe_methods() {
        let mut next = 100;
        for (statuses, [safe, other]) in EFFECTS {
            assert_eq!(*statuses.start(), next, "the table has no gap");
            next = statuses.end() + 1;
            for status in statuses.clone() {
                let status = StatusCode::from_u16(status).unwrap();
                let effect = |is_safe| effect_of_response(status, &HeaderMap::new(), is_safe);
                assert_eq!((effect(true), effect(false)), (*safe, *other), "{status}");
            }
        }
        assert_eq!(next, 1_000);
    }

    #[test]
    fn proxy_that_may_have_forwarded_the_request_takes_its_refusal_back_for_every_status() {
        let headers = saying(&[("proxy-status", "edge; error=connection_terminated")]);
        for status in 100..=999 {
            let status = StatusCode::from_u16(status).unwrap();
            for is_safe in [true, false] {
                let effect = effect_of_response(status, &headers, is_safe);
                let expected = match status.is_success() {
                    true => Effect::Done,
                    false => Effect::Possible,
                };
                assert_eq!(effect, expected, "{status}");
            }
        }
    }
}
