use http::header::{HeaderName, HeaderValue};

use super::*;
use crate::hop::name;

#[test]
fn statuses_are_told_apart_by_who_gave_them() {
    use Effect::{Declined, Possible};
    use Hop::{Gateway, Server};
    let via = HeaderMap::from_iter([(VIA, "1.1 edge".parse().unwrap())]);
    let marked = HeaderMap::from_iter([(PROXY_STATUS, "edge".parse().unwrap())]);
    let plain = HeaderMap::new();
    let made = saying(&[("proxy-status", "edge; error=http_request_denied")]);
    for (status, headers, expected) in [
        (502, &plain, (Gateway, Kind::BadGateway, Possible)),
        (504, &plain, (Gateway, Kind::Timeout, Possible)),
        (503, &via, (Gateway, Kind::Unavailable, Possible)),
        (503, &marked, (Gateway, Kind::Unavailable, Possible)),
        (503, &plain, (Server, Kind::Unavailable, Possible)),
        (500, &via, (Server, Kind::ServerError, Possible)),
        (501, &plain, (Server, Kind::ServerError, Possible)),
        (429, &plain, (Server, Kind::Throttled, Declined)),
        (401, &plain, (Server, Kind::Unauthorized, Declined)),
        (403, &plain, (Server, Kind::Unauthorized, Declined)),
        (400, &plain, (Server, Kind::ClientError, Declined)),
        (413, &plain, (Server, Kind::ClientError, Declined)),
        (425, &plain, (Server, Kind::ClientError, Declined)),
        (412, &plain, (Server, Kind::PreconditionFailed, Declined)),
        (412, &made, (Gateway, Kind::PreconditionFailed, Declined)),
        (428, &plain, (Server, Kind::PreconditionRequired, Declined)),
        (428, &made, (Gateway, Kind::PreconditionRequired, Declined)),
        (408, &plain, (Server, Kind::ClientError, Possible)),
        (409, &plain, (Server, Kind::ClientError, Possible)),
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
        // The proxy made the response itself.
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
        // The proxy forwarded the response that it received.
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
        // The proxy received another status, or does not report one.
        (503, &[says("edge; received-status=200")], Gateway),
        (503, &[says("edge"), VIA], Gateway),
        (503, &[VIA], Gateway),
        // The response comes from a cache.
        (500, &[("age", "30")], Gateway),
        (503, &[("age", "1")], Gateway),
        (500, &[("age", "0")], Server),
        (500, &[("age", "soon")], Server),
        (404, &[("age", "30")], Server),
        // Malformed values are ignored, but the presence of the field still marks a 503.
        (500, &[says("edge; error=")], Server),
        (500, &[says("edge; error=\"dns_timeout\"")], Server),
        (503, &[says("edge; error=")], Gateway),
        // The status alone decides.
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
        let expected = (Hop::Server, Kind::ServerError, Effect::Possible);
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

/// The statuses of a row, and their effect for a safe and an unsafe method.
type Row = (std::ops::RangeInclusive<u16>, [Effect; 2]);

/// The whole table.
const EFFECTS: &[Row] = {
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

#[test]
fn grpc_is_told_by_its_media_type() {
    for (value, expected) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;x=1", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        let headers = saying(&[("content-type", value)]);
        assert_eq!(is_grpc(&headers), expected, "{value:?}");
    }
    assert!(!is_grpc(&HeaderMap::new()));
}

#[test]
fn head_of_a_grpc_response_proves_nothing_without_code_0() {
    let grpc = ("content-type", "application/grpc");
    for (lines, expected) in [
        (vec![grpc], Effect::Possible),
        (vec![grpc, ("grpc-status", "0")], Effect::Done),
        (vec![grpc, ("grpc-status", "14")], Effect::Possible),
        (vec![("grpc-status", "14")], Effect::Done),
    ] {
        let effect = effect_of_response(StatusCode::OK, &saying(&lines), false);
        assert_eq!(effect, expected, "{lines:?}");
    }
}
