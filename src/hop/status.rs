//! The wait ends with a status: who gave it, and what it says about the effect.

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, VIA};

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
    let (hop, kind) = match status.as_u16() {
        502 => (Hop::Gateway, Kind::BadGateway),
        504 => (Hop::Gateway, Kind::Timeout),
        503 if by_gateway(headers) => (Hop::Gateway, Kind::Unavailable),
        503 => (Hop::Server, Kind::Unavailable),
        500..=599 => (Hop::Server, Kind::Failed),
        // Unlike the other 4xx these two do not prove that nothing happened: some middleboxes say
        // 408 for "the service took too long", and 409 is also "your first request is still being
        // worked on".
        // Only a proxy says this (RFC 9110 §15.5.8).
        407 => (Hop::Gateway, Kind::ProxyUnauthorized),
        409 if matches!(keyed, Keyed::Again | Keyed::Given) => {
            return Some((Hop::Server, Kind::InProgress, Effect::Possible));
        }
        // Nobody can be working on it: it is a conflict of its own.
        409 if keyed == Keyed::Fresh => (Hop::Server, Kind::Rejected),
        408 | 409 => return Some((Hop::Server, Kind::Rejected, Effect::Possible)),
        429 => (Hop::Server, Kind::Throttled),
        401 | 403 => (Hop::Server, Kind::Unauthorized),
        422 if keyed == Keyed::Given => (Hop::Server, Kind::KeyReused),
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
            let judged = judge(StatusCode::from_u16(status).unwrap(), headers, Keyed::No);
            assert_eq!(judged, Some(expected), "{status}");
        }
    }

    #[test]
    fn success_and_redirection_are_no_failures() {
        for status in [200, 204, 301, 304, 399] {
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
