//! Decides where a redirect leads, and which headers are sent there: pure.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode, Uri};
use url::Url;

/// The facts about a request that a redirect needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedirectRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) status: StatusCode,
    /// Whether its body can be sent again.
    pub(crate) replayable: bool,
}

/// The next leg of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NextLeg {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// Whether the leg has another origin (scheme, host or port).
    pub(crate) away: bool,
}

impl NextLeg {
    /// Returns whether the body is sent again. That is the case if the method stays the same.
    pub(crate) fn keeps_body(&self, asked: &RedirectRequest<'_>) -> bool {
        self.method == asked.method
    }
}

/// Returns the next leg of a response; `None` if the response leads to no other request.
///
/// | status | method of the next leg (RFC 9110 §15.4) |
/// |---|---|
/// | 301, 302 | GET after a POST, else the same |
/// | 303 | HEAD after a HEAD, else GET |
/// | 307, 308 | the same, with the same body |
///
/// A `Location` that is missing, malformed or ambiguous leads to no leg. The same holds if the leg needs a body that
/// cannot be sent again.
///
/// # Errors
///
/// Refuses a redirect from https to http, or to a scheme that is not HTTP. The error is the URL that it leads to.
pub(crate) fn next(
    asked: &RedirectRequest<'_>,
    headers: &HeaderMap,
) -> Result<Option<NextLeg>, Uri> {
    let Some(method) = method(asked) else {
        return Ok(None);
    };
    let Ok(uri) = location(asked.uri, headers) else {
        return Ok(None);
    };
    let is = |uri: &Uri, scheme: &str| {
        uri.scheme_str()
            .is_some_and(|s| s.eq_ignore_ascii_case(scheme))
    };
    let down = is(asked.uri, "https") && is(&uri, "http");
    if down || !(is(&uri, "http") || is(&uri, "https")) {
        return Err(uri);
    }
    let leg = NextLeg {
        away: !same_origin(asked.uri, &uri),
        method,
        uri,
    };
    let body_is_gone = leg.keeps_body(asked) && !asked.replayable;
    Ok((!body_is_gone).then_some(leg))
}

fn method(asked: &RedirectRequest<'_>) -> Option<Method> {
    let same = asked.method.clone();
    let method = match asked.status.as_u16() {
        301 | 302 if same == Method::POST => Method::GET,
        303 if same != Method::HEAD => Method::GET,
        _ => same,
    };
    is_followed(asked.status).then_some(method)
}

/// Returns whether a redirect of this status is followed, if its `Location` is usable.
pub(super) fn is_followed(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Why a `Location` is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    Missing,
    /// There are several different values (RFC 9110 §5.3 allows one).
    Ambiguous,
    Malformed,
}

/// Returns the absolute URL that a response names (RFC 9110 §10.2.2), without fragment and userinfo. The server must
/// not choose our credentials.
///
/// The value is read as bytes. Raw UTF-8 is percent-encoded, as browsers do. A value with control characters is
/// malformed: the URL parser would silently drop tabs.
pub(super) fn location(base: &Uri, headers: &HeaderMap) -> Result<Uri, Unusable> {
    let mut values = headers.get_all(header::LOCATION).into_iter();
    let first = values.next().ok_or(Unusable::Missing)?;
    if values.any(|other| other != first) {
        return Err(Unusable::Ambiguous);
    }
    absolute(base, first.as_bytes()).ok_or(Unusable::Malformed)
}

fn absolute(base: &Uri, location: &[u8]) -> Option<Uri> {
    let location = std::str::from_utf8(location)
        .ok()?
        .trim_matches([' ', '\t']);
    if location.contains(char::is_control) {
        return None;
    }
    let base: Url = base.to_string().parse().ok()?;
    let mut there = base.join(location).ok()?;
    there.set_fragment(None);
    // These fail only for URLs that cannot have userinfo.
    let _ = there.set_username("");
    let _ = there.set_password(None);
    at_home(&base, there).as_str().parse().ok()
}

/// Returns the URL with the userinfo of the request's URL, if both have the same origin. The userinfo is the caller's
/// credentials, which the same origin needs.
fn at_home(base: &Url, mut there: Url) -> Url {
    if base.origin() == there.origin() {
        let _ = there.set_username(base.username());
        let _ = there.set_password(base.password());
    }
    there
}

/// Returns whether scheme, host and port are equal (RFC 6454 §4).
fn same_origin(one: &Uri, other: &Uri) -> bool {
    use crate::destination::Destination;
    Destination::of(one).is_some_and(|one| Some(one) == Destination::of(other))
}

/// Removes the headers that must not be sent to `leg`.
///
/// Across origins only headers known to be harmless are kept: any other header may be a credential. A removed header
/// stays removed, even if a later redirect leads back.
pub(crate) fn prune(headers: &mut HeaderMap, leg: &NextLeg, body: bool, rules: &HeaderRules<'_>) {
    if !body {
        let names = [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::EXPECT,
            header::TRAILER,
            // They were conditions of the write, which may have changed the resource.
            header::IF_MATCH,
            header::IF_UNMODIFIED_SINCE,
        ];
        names.iter().for_each(|name| drop(headers.remove(name)));
        retain(headers, |name, _| !name.as_str().starts_with("content-"));
        if let Some(key) = rules.key {
            headers.remove(key);
        }
    }
    if leg.away {
        headers.remove(header::HOST);
        retain(headers, |name, sensitive| {
            let kept = HARMLESS.contains(name) || rules.kept.contains(name);
            let secret = sensitive || SECRET.contains(name) || rules.key == Some(name);
            kept && !secret
        });
    }
}

/// The rules for headers, from the config and the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeaderRules<'a> {
    pub(crate) kept: &'a [HeaderName],
    /// The header of the idempotency key.
    pub(crate) key: Option<&'a HeaderName>,
}

fn retain(headers: &mut HeaderMap, keep: impl Fn(&HeaderName, bool) -> bool) {
    let gone: Vec<_> = headers
        .keys()
        .filter(|name| {
            let sensitive = headers.get_all(*name).iter().any(|v| v.is_sensitive());
            !keep(name, sensitive)
        })
        .cloned()
        .collect();
    gone.iter().for_each(|name| drop(headers.remove(name)));
}

/// Headers that do not identify the client or the user.
const HARMLESS: &[HeaderName] = &[
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::PRAGMA,
    header::RANGE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::USER_AGENT,
];
/// Headers that are never sent to another origin, whatever the config says.
const SECRET: &[HeaderName] = &[
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
];

/// Returns why a redirect was not followed, for a caller that follows redirects.
///
/// If the policy cannot follow a redirect, it returns the response as it is. So each reason but the last can be read
/// from the response.
#[cfg(feature = "client")]
pub(crate) fn unfollowed(here: &Uri, status: StatusCode, headers: &HeaderMap) -> &'static str {
    if !is_followed(status) {
        return "this status is never followed";
    }
    match location(here, headers) {
        Err(Unusable::Missing) => "it has no Location",
        Err(Unusable::Ambiguous) => "it has several Locations, and they differ",
        Err(Unusable::Malformed) => "its Location is malformed",
        Ok(_) => "the request body cannot be sent again",
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
