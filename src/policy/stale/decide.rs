//! Decides which responses are stored, and when one of them may stand in for a failure. Pure.

use std::time::{Duration, SystemTime};

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, PRAGMA, SET_COOKIE, TRAILER, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};

use super::control::Control;
use crate::hop::{Diagnosis, Hop, Kind};

/// The use of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// In place of a failure (RFC 5861 §4).
    Error,
    /// At once, while another request refreshes the store (RFC 5861 §3).
    Revalidation,
}

/// The terms on which a stored response may be used.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    semantics: CachePolicy,
    /// The age with which it came.
    age: Duration,
    /// The greatest age that the server allows in place of a failure, if it says so.
    if_error: Option<Duration>,
    /// The greatest age that the server allows while another request refreshes the store, if it says so.
    while_revalidate: Option<Duration>,
    /// Whether a store that several users share may have the response.
    is_shared: bool,
    /// The size of the request headers that the semantics keep.
    request_bytes: usize,
}

impl Terms {
    /// Returns the terms of a response; `None` if it must not be stored, or if it may never be used once it is stale.
    ///
    /// The method and headers are those of the request, with its secrets replaced by their hashes.
    pub(super) fn of(
        (method, asked): (&Method, &HeaderMap),
        (status, headers): (StatusCode, &HeaderMap),
        is_shared: bool,
    ) -> Option<Self> {
        let control = Control::read(headers);
        let forbids = control.forbids || is_shared && control.forbids_shared;
        // A cookie that is set belongs to one user. Trailers are not stored.
        let has_more = headers.contains_key(SET_COOKIE) || headers.contains_key(TRAILER);
        if !status.is_success() || forbids || has_more {
            return None;
        }
        let options = CacheOptions {
            shared: is_shared,
            cache_heuristic: 0.0,
            ..CacheOptions::default()
        };
        let response = read_by_semantics(status, headers);
        let request = request(method, asked);
        let semantics = CachePolicy::new_options(&request, &response, moment(), options);
        let fresh = semantics.time_to_live(moment());
        let after_fresh = |stale: Duration| fresh.saturating_add(stale);
        let if_error = match is_shared && control.has_s_maxage {
            true => Some(fresh),
            false => control.stale_if_error.map(after_fresh),
        };
        let while_revalidate = match is_shared && control.has_s_maxage {
            true => Some(fresh),
            false => control.stale_while_revalidate.map(after_fresh),
        };
        let terms = Self {
            age: age(headers),
            if_error,
            while_revalidate,
            is_shared,
            request_bytes: bytes_of(asked),
            semantics,
        };
        // `Vary: *` does not even match its own request.
        (terms.semantics.is_storable() && terms.matches((method, asked))).then_some(terms)
    }

    /// Returns whether the response also fits this request (`Vary`).
    pub(super) fn matches(&self, (method, headers): (&Method, &HeaderMap)) -> bool {
        match self
            .semantics
            .before_request(&request(method, headers), moment())
        {
            BeforeRequest::Fresh(_) => true,
            BeforeRequest::Stale { matches, .. } => matches,
        }
    }

    /// Returns whether the response may be used. One that was stored for separate users stays private if the store is
    /// shared later.
    pub(super) const fn allows(&self, is_shared: bool) -> bool {
        self.is_shared || !is_shared
    }

    /// Returns the size of the request headers that are kept with the response.
    pub(super) const fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// Returns the age of the response this long after it was requested; `None` if it is too old for the request.
    pub(super) fn usable(
        &self,
        since: Duration,
        (window, asked): (Duration, &Control),
        purpose: Purpose,
    ) -> Option<Duration> {
        let age = self.age.saturating_add(since);
        let (by_server, by_request) = match purpose {
            Purpose::Error => (self.if_error, asked.stale_if_error),
            Purpose::Revalidation => (self.while_revalidate, asked.stale_while_revalidate),
        };
        let bounds = [Some(window), by_server, by_request, asked.max_age];
        let is_old = bounds.into_iter().flatten().any(|most| age > most);
        (!is_old && !asked.forbids).then_some(age)
    }
}

/// Returns whether a stale response may stand in for this failure. A request that cannot be encoded is the caller's
/// mistake: a response would hide it. A response that is too large for the caller is not worse than an older one.
pub(crate) fn stands_in_for(failure: &Diagnosis) -> bool {
    let by_client = failure
        .status
        .is_some_and(|status| status.is_client_error());
    failure.hop != Some(Hop::Encode) && failure.kind != Kind::TooLarge && !by_client
}

/// Returns the size of headers in memory.
pub(super) fn bytes_of(headers: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + BYTES_PER_LINE
    };
    headers.iter().map(line).sum()
}

/// The size of an entry in a map of headers, besides its text.
const BYTES_PER_LINE: usize = 112;

/// Returns the headers that matter to `http-cache-semantics`. It reads directives in lower case only.
fn read_by_semantics(status: StatusCode, headers: &HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let own = response.headers_mut();
    for name in [DATE, EXPIRES, PRAGMA, VARY] {
        for value in headers.get_all(&name) {
            own.append(&name, value.clone());
        }
    }
    for value in headers.get_all(CACHE_CONTROL) {
        own.append(CACHE_CONTROL, lower(value));
    }
    response
}

/// The URL is in the key of the store, where it is hashed: it may hold secrets.
fn request(method: &Method, headers: &HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = Uri::from_static("/");
    *request.headers_mut() = headers.clone();
    request
}

pub(super) fn lower(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(&value.as_bytes().to_ascii_lowercase())
        .unwrap_or_else(|_| value.clone())
}

/// `http-cache-semantics` computes with wall time. Only differences matter here, so time stands still for it. It comes
/// after every date of a server: an `Expires` without a `Date` is then in the past, which is the strict reading.
fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(200 * 365 * 24 * 60 * 60)
}

/// Returns the age that the response had when it came (RFC 9111 §5.1).
fn age(headers: &HeaderMap) -> Duration {
    let text = headers.get(AGE).and_then(|value| value.to_str().ok());
    let seconds = text.and_then(|text| text.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    type Lines = &'static [(&'static str, &'static str)];
    type StoreCase = (Lines, u16, Lines, bool, bool);
    type AgeCase = (Lines, Lines, u64, u64);

    fn terms(asked: Lines, status: u16, response: Lines, is_shared: bool) -> Option<Terms> {
        let status = StatusCode::from_u16(status).unwrap();
        Terms::of(
            (&Method::GET, &headers(asked)),
            (status, &headers(response)),
            is_shared,
        )
    }

    #[test]
    fn responses_that_are_never_stored() {
        let plain: Lines = &[];
        let bearer: Lines = &[("authorization", "Bearer 1")];
        let cases: &[StoreCase] = &[
            // (request, status, response, stored if shared, stored if not)
            (plain, 200, plain, true, true),
            (plain, 203, plain, true, true),
            (plain, 204, plain, true, true),
            (plain, 200, &[("cache-control", "no-store")], false, false),
            (plain, 200, &[("cache-control", "No-Store")], false, false),
            (plain, 200, &[("cache-control", "no-cache")], false, false),
            (
                plain,
                200,
                &[("cache-control", "must-revalidate, max-age=9")],
                false,
                false,
            ),
            (plain, 200, &[("cache-control", "private")], false, true),
            (plain, 200, &[("cache-control", "Private")], false, true),
            (
                plain,
                200,
                &[("cache-control", "proxy-revalidate")],
                false,
                true,
            ),
            (plain, 200, &[("vary", "*")], false, false),
            (plain, 200, &[("set-cookie", "id=1")], false, false),
            (plain, 200, &[("trailer", "x-sum")], false, false),
            (plain, 201, plain, false, false),
            (plain, 206, plain, false, false),
            (plain, 301, plain, false, false),
            (plain, 404, plain, false, false),
            (plain, 500, plain, false, false),
            (bearer, 200, plain, false, true),
            (bearer, 200, &[("cache-control", "public")], true, true),
            (bearer, 200, &[("cache-control", "s-maxage=9")], true, true),
            (
                bearer,
                200,
                &[("cache-control", "max-age=1, max-age=2")],
                false,
                false,
            ),
            (&[("cache-control", "no-store")], 200, plain, false, false),
        ];
        for (asked, status, response, shared, own) in cases {
            for (is_shared, stored) in [(true, shared), (false, own)] {
                let found = terms(asked, *status, response, is_shared).is_some();
                assert_eq!(
                    found, *stored,
                    "{asked:?} {status} {response:?} {is_shared}"
                );
            }
        }
    }

    #[test]
    fn age_is_bounded_by_the_stricter_of_user_server_and_request() {
        let plain: Lines = &[];
        let cases: &[AgeCase] = &[
            // (request, response, the user's window, the greatest age)
            (plain, plain, 60, 60),
            (plain, &[("cache-control", "stale-if-error=20")], 60, 20),
            (plain, &[("cache-control", "stale-if-error=90")], 60, 60),
            (
                plain,
                &[("cache-control", "max-age=10, stale-if-error=20")],
                60,
                30,
            ),
            (
                plain,
                &[("cache-control", "s-maxage=10, stale-if-error=20")],
                60,
                10,
            ),
            (plain, &[("cache-control", "max-age=10")], 60, 60),
            (&[("cache-control", "max-age=5")], plain, 60, 5),
            (&[("cache-control", "stale-if-error=7")], plain, 60, 7),
        ];
        for (asked, response, window, most) in cases {
            let terms = terms(asked, 200, response, true).unwrap();
            let control = Control::read(&headers(asked));
            let bounds = (secs(*window), &control);
            let age = |since| terms.usable(since, bounds, Purpose::Error);
            assert_eq!(
                age(secs(*most)),
                Some(secs(*most)),
                "{asked:?} {response:?}"
            );
            assert_eq!(age(secs(*most) + Duration::from_millis(1)), None);
        }
    }

    #[test]
    fn age_includes_the_time_in_caches_before_this_one() {
        let terms = terms(&[], 200, &[("age", "25")], true).unwrap();
        let none = Control::default();
        let age = |since, window| terms.usable(secs(since), (secs(window), &none), Purpose::Error);
        assert_eq!(age(30, 60), Some(secs(55)));
        assert_eq!(age(36, 60), None);
        let endless = self::terms(&[], 200, &[("age", "18446744073709551615")], true).unwrap();
        assert_eq!(
            endless.usable(secs(1), (secs(60), &none), Purpose::Error),
            None
        );
    }

    #[test]
    fn request_that_wants_a_fresh_response_gets_no_stale_one() {
        let terms = terms(&[], 200, &[], true).unwrap();
        for word in ["no-cache", "max-age=0", "min-fresh=1"] {
            let mut asked = HeaderMap::new();
            asked.insert(CACHE_CONTROL, HeaderValue::from_static(word));
            let control = Control::read(&asked);
            let age = terms.usable(secs(1), (secs(60), &control), Purpose::Error);
            assert_eq!(age, None, "{word}");
        }
    }

    #[test]
    fn revalidation_has_bounds_of_its_own() {
        let directives: Lines = &[(
            "cache-control",
            "stale-if-error=50, stale-while-revalidate=5",
        )];
        let terms = terms(&[], 200, directives, true).unwrap();
        let none = Control::default();
        let age = |since, purpose| terms.usable(secs(since), (secs(60), &none), purpose);
        assert_eq!(age(6, Purpose::Revalidation), None);
        assert_eq!(age(5, Purpose::Revalidation), Some(secs(5)));
        assert_eq!(age(50, Purpose::Error), Some(secs(50)));
    }

    #[test]
    fn response_matches_the_requests_that_vary_in_nothing_else() {
        let german: Lines = &[("accept-language", "de")];
        let terms = terms(german, 200, &[("vary", "Accept-Language")], true).unwrap();
        let matches = |method: &Method, lines| terms.matches((method, &headers(lines)));
        assert!(matches(&Method::GET, german));
        assert!(matches(
            &Method::GET,
            &[("accept-language", "de"), ("accept", "a/b")]
        ));
        assert!(!matches(&Method::GET, &[("accept-language", "en")]));
        assert!(!matches(&Method::GET, &[]));
        assert!(!matches(&Method::HEAD, german));
    }

    #[test]
    fn expires_without_a_date_is_in_the_past() {
        let directives: Lines = &[
            ("expires", "Thu, 01 Dec 2044 16:00:00 GMT"),
            ("cache-control", "stale-if-error=20"),
        ];
        let terms = terms(&[], 200, directives, true).unwrap();
        assert_eq!(terms.if_error, Some(secs(20)));
    }

    #[test]
    fn mistakes_of_the_caller_are_not_hidden() {
        let status = |code| {
            let status = StatusCode::from_u16(code).unwrap();
            let judged = Diagnosis::status(status, &HeaderMap::new(), crate::hop::Keyed::No);
            stands_in_for(&judged.unwrap())
        };
        assert!(status(500) && status(503) && status(504) && status(600));
        assert!(!status(400) && !status(404) && !status(429));
        assert!(!stands_in_for(&Diagnosis::invalid()));
        assert!(stands_in_for(&Diagnosis::refusal(Kind::CircuitOpen)));
        assert!(stands_in_for(&Diagnosis::unsent(Hop::Dns, Kind::Timeout)));
    }
}
