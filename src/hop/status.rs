//! The wait ends with a status: who gave it, and what it says about the effect.

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, VIA};

use super::{Effect, Hop, Kind};

/// What a status says of the call; `vouched`: the request carried an idempotency key that the far
/// side is known to honour. `None` where it is no failure.
pub(crate) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    vouched: bool,
) -> Option<(Hop, Kind, Effect)> {
    let (hop, kind) = match status.as_u16() {
        502 => (Hop::Gateway, Kind::BadGateway),
        504 => (Hop::Gateway, Kind::Timeout),
        503 if by_gateway(headers) => (Hop::Gateway, Kind::Unavailable),
        503 => (Hop::Server, Kind::Unavailable),
        500..=599 => (Hop::Server, Kind::Failed),
        // Unlike the other 4xx these two do not prove that nothing happened: some middleboxes say
        // 408 for "the service took too long", and 409 is also "your first request is still being
        // worked on".
        409 if vouched => return Some((Hop::Server, Kind::InProgress, Effect::Possible)),
        408 | 409 => return Some((Hop::Server, Kind::Rejected, Effect::Possible)),
        429 => (Hop::Server, Kind::Throttled),
        401 | 403 => (Hop::Server, Kind::Unauthorized),
        422 if vouched => (Hop::Server, Kind::KeyReused),
        400..=499 => (Hop::Server, Kind::Rejected),
        _ => return None,
    };
    let effect = if status.is_server_error() {
        Effect::Possible
    } else {
        Effect::None
    };
    Some((hop, kind, effect))
}

/// A middlebox's marks: it says that it passed the answer on (RFC 9110 §7.6.3), or that it made
/// the answer itself (RFC 9209).
fn by_gateway(headers: &HeaderMap) -> bool {
    headers.contains_key(VIA) || headers.contains_key(&PROXY_STATUS)
}

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

#[cfg(test)]
mod tests {
    use super::*;

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
            let judged = judge(StatusCode::from_u16(status).unwrap(), headers, false);
            assert_eq!(judged, Some(expected), "{status}");
        }
    }

    #[test]
    fn success_and_redirection_are_no_failures() {
        for status in [200, 204, 301, 304, 399] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(judge(status, &HeaderMap::new(), false), None);
        }
    }

    #[test]
    fn honoured_key_says_what_a_conflict_is() {
        let plain = HeaderMap::new();
        for (status, expected) in [
            (StatusCode::CONFLICT, (Kind::InProgress, Effect::Possible)),
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                (Kind::KeyReused, Effect::None),
            ),
            (StatusCode::BAD_REQUEST, (Kind::Rejected, Effect::None)),
        ] {
            let (hop, kind, effect) = judge(status, &plain, true).unwrap();
            assert_eq!((hop, (kind, effect)), (Hop::Server, expected), "{status}");
        }
    }
}
