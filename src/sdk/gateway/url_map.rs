//! The URLs of a gateway and those of its upstream. Pure.

use std::net::SocketAddr;

use http::uri::{Authority, InvalidUri, PathAndQuery, Scheme};
use http::{HeaderValue, StatusCode, Uri};
use url::Url;

use super::cookies;
use crate::box_error::BoxError;

/// Maps the URLs of requests to the upstream, and those in responses back.
pub(super) struct UrlMap {
    /// The base URL of the gateway, without a slash at its end.
    gateway: String,
    /// The path of that URL.
    prefix: String,
    upstream: Url,
    scheme: Scheme,
    authority: Authority,
    /// The path of the upstream, without a slash at its end.
    base: String,
}

impl UrlMap {
    pub(super) fn new(addr: SocketAddr, token: u128, upstream: &Uri) -> Result<Self, BoxError> {
        let prefix = format!("/{token:032x}");
        let authority = upstream.authority().cloned();
        Ok(Self {
            gateway: format!("http://{addr}{prefix}"),
            prefix,
            upstream: upstream.to_string().parse()?,
            scheme: upstream.scheme().cloned().unwrap_or(Scheme::HTTP),
            authority: authority.ok_or("the URL has no host")?,
            base: upstream.path().trim_end_matches('/').to_owned(),
        })
    }

    pub(super) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Returns the URL at the upstream for the target of a request.
    ///
    /// # Errors
    ///
    /// Returns the status of the response if the target is not below the prefix, or is too long.
    pub(super) fn upstream(&self, target: &Uri) -> Result<Uri, StatusCode> {
        let rest = below(target.path(), &self.prefix).ok_or(StatusCode::NOT_FOUND)?;
        if rest.split('/').any(is_dots) {
            // The request would leave the path of the upstream, or that of an endpoint.
            return Err(StatusCode::BAD_REQUEST);
        }
        let mut path = format!("{}{rest}", self.base);
        if path.is_empty() {
            path.push('/');
        }
        if let Some(query) = target.query() {
            path.push('?');
            path.push_str(query);
        }
        let too_long = |_: InvalidUri| StatusCode::URI_TOO_LONG;
        let path = PathAndQuery::from_maybe_shared(path).map_err(too_long)?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|_| StatusCode::URI_TOO_LONG)
    }

    /// Returns the URL in a header of a response as the SDK must see it. `None` if it is right as it stands.
    ///
    /// `from` is the URL that answered. A reference is relative to that URL, and the SDK would resolve it against that
    /// of the gateway.
    pub(super) fn reference(&self, from: &Uri, value: &HeaderValue) -> Option<HeaderValue> {
        let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
        if text.contains(char::is_control) {
            return None;
        }
        let mut there = Url::parse(&from.to_string()).ok()?.join(text).ok()?;
        let rest = match there.origin() == self.upstream.origin() {
            // A URL above the path of the upstream is not one of the gateway.
            true => self.rest(there.path()),
            false => None,
        };
        let Some(rest) = rest else {
            let is_absolute = Url::parse(text).is_ok();
            let _ = there.set_username("");
            let _ = there.set_password(None);
            return (!is_absolute)
                .then(|| there.as_str().parse().ok())
                .flatten();
        };
        let query = there.query().map(|query| format!("?{query}"));
        let fragment = there.fragment().map(|fragment| format!("#{fragment}"));
        let (query, fragment) = (query.unwrap_or_default(), fragment.unwrap_or_default());
        format!("{}{rest}{query}{fragment}", self.gateway)
            .parse()
            .ok()
    }

    /// Returns whether a URL has the origin of the upstream.
    pub(super) fn is_upstream(&self, url: &Uri) -> bool {
        let url = Url::parse(&url.to_string());
        url.is_ok_and(|url| url.origin() == self.upstream.origin())
    }

    /// Returns a `Set-Cookie` of the upstream for a jar that sees the gateway's URL. `None` if it is not the upstream's,
    /// or is right as it stands.
    pub(super) fn cookie(&self, from: &Uri, value: &HeaderValue) -> Option<HeaderValue> {
        let from = Url::parse(&from.to_string()).ok()?;
        cookies::returned(value, from.host_str()?, |path| self.path(path))
    }

    /// Returns the gateway's path for one of the upstream, or for one above its base.
    fn path(&self, path: &str) -> Option<String> {
        let is_above = |path: &str| {
            let below = self.base.strip_prefix(path.trim_end_matches('/'));
            path.starts_with('/') && below.is_some_and(|below| below.starts_with('/'))
        };
        match self.rest(path) {
            Some("" | "/") => Some(self.prefix.clone()),
            Some(rest) => Some(format!("{}{rest}", self.prefix)),
            None => is_above(path).then(|| self.prefix.clone()),
        }
    }

    /// Returns the rest of an upstream's path below its base.
    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&self.base)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// Returns the `Referer` of a request for the upstream. `None` if it has the secret prefix and does not lead there.
    pub(super) fn referer(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let ours = value.to_str().ok();
        if let Some(ours) = ours.filter(|text| text.starts_with(&self.gateway)) {
            let there = self.upstream(&ours.parse().ok()?).ok()?;
            return there.to_string().parse().ok();
        }
        let (text, token) = (value.as_bytes().to_ascii_lowercase(), &self.prefix[1..]);
        let mut parts = text.windows(token.len());
        let is_secret = parts.any(|part| part == token.as_bytes());
        (!is_secret).then(|| value.clone())
    }
}

/// Returns whether a segment of a path is `.` or `..` (RFC 3986 §5.2.4), also with escaped dots.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(plain.as_str(), "." | "..")
}

/// Returns the rest of a path below a prefix. Takes the same time for every wrong prefix of that length.
fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let (given, rest) = path.split_at_checked(prefix.len())?;
    let pairs = given.bytes().zip(prefix.bytes());
    let difference = pairs.fold(0, |difference, (a, b)| difference | (a ^ b));
    let is_below = rest.is_empty() || rest.starts_with('/');
    (difference == 0 && is_below).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(upstream: &str) -> UrlMap {
        let addr = ([127, 0, 0, 1], 1234).into();
        UrlMap::new(addr, 0xabc, &upstream.parse().unwrap()).unwrap()
    }

    const PREFIX: &str = "/00000000000000000000000000000abc";
    const GATEWAY: &str = "http://127.0.0.1:1234/00000000000000000000000000000abc";

    #[test]
    fn path_and_query_go_to_the_upstream_as_they_are() {
        for (upstream, rest, expected) in [
            ("https://api.test", "/v1", "https://api.test/v1"),
            ("https://api.test/", "/v1/", "https://api.test/v1/"),
            ("https://api.test", "", "https://api.test/"),
            ("https://api.test", "?a", "https://api.test/?a"),
            ("https://api.test/base", "", "https://api.test/base"),
            (
                "https://api.test/base/",
                "/v1?a=b&c",
                "https://api.test/base/v1?a=b&c",
            ),
            (
                "http://api.test:81",
                "/a%2Fb//c?%20",
                "http://api.test:81/a%2Fb//c?%20",
            ),
            ("http://[::1]:81", "/?", "http://[::1]:81/?"),
        ] {
            let target = format!("{PREFIX}{rest}").parse().unwrap();
            let uri = map(upstream).upstream(&target).unwrap();
            assert_eq!(uri.to_string(), expected, "{rest}");
            // The absolute form of a target is the same (RFC 9112 §3.2.2).
            let target = format!("{GATEWAY}{rest}").parse().unwrap();
            assert_eq!(map(upstream).upstream(&target).unwrap(), uri);
        }
    }

    #[test]
    fn dot_segments_do_not_leave_the_path_of_the_upstream() {
        for rest in ["/../b", "/a/..", "/%2e%2E/b", "/.%2e", "/./a", "/.."] {
            let target = format!("{PREFIX}{rest}").parse().unwrap();
            // An endpoint of the upstream may have a path that the upstream has not.
            for upstream in ["https://api.test/tenants/a", "https://pay.internal"] {
                let refused = map(upstream).upstream(&target);
                assert_eq!(refused, Err(StatusCode::BAD_REQUEST), "{rest}");
            }
        }
        for rest in ["/..a", "/a..", "/...", "/v1?x=/../b"] {
            let target = format!("{PREFIX}{rest}").parse().unwrap();
            assert!(
                map("https://api.test/tenants/a").upstream(&target).is_ok(),
                "{rest}"
            );
        }
    }

    #[test]
    fn target_without_the_whole_prefix_is_not_found() {
        for target in [
            "/",
            "*",
            "/v1",
            "//00000000000000000000000000000abc/v1",
            "/00000000000000000000000000000abd/v1",
            "/00000000000000000000000000000ABC/v1",
            "/00000000000000000000000000000ab/cv1",
            "/00000000000000000000000000000abcd/v1",
            "/v1/00000000000000000000000000000abc/v1",
            "api.test:443",
        ] {
            let refused = map("https://api.test").upstream(&target.parse().unwrap());
            assert_eq!(refused, Err(StatusCode::NOT_FOUND), "{target}");
        }
        let long = format!("{PREFIX}/{}", "x".repeat(65_000)).parse().unwrap();
        let base = format!("https://api.test/{}", "y".repeat(1_000));
        assert_eq!(map(&base).upstream(&long), Err(StatusCode::URI_TOO_LONG));
    }

    #[test]
    fn references_to_the_upstream_lead_through_the_gateway() {
        for (upstream, from, value, expected) in [
            (
                "https://api.test",
                "/v1/a",
                "https://api.test/v1/b?c#d",
                Some("/v1/b?c#d"),
            ),
            (
                "https://api.test",
                "/v1/a",
                "https://API.test:443/b",
                Some("/b"),
            ),
            (
                "https://api.test",
                "/v1/a",
                "https://user:pw@api.test/b",
                Some("/b"),
            ),
            ("https://api.test", "/v1/a", "https://api.test", Some("/")),
            ("https://api.test", "/v1/a", "//api.test/b", Some("/b")),
            ("https://api.test", "/v1/a", "/b", Some("/b")),
            ("https://api.test", "/v1/a", "b?c", Some("/v1/b?c")),
            ("https://api.test", "/v1/a", "../b", Some("/b")),
            ("https://api.test/base", "/base/a", "/base/b", Some("/b")),
            ("https://api.test/base", "/base/a", "/base", Some("")),
            ("https://api.test/base", "/base/a", "/base?x", Some("?x")),
            ("https://api.test/base/", "/base/a", "b", Some("/b")),
            (
                "https://api.test",
                "/v1/a",
                "caf\u{e9}",
                Some("/v1/caf%C3%A9"),
            ),
            ("https://api.test", "/v1/a", "https://other.test/b", None),
            ("https://api.test", "/v1/a", "https://api.test:444/b", None),
            ("https://api.test", "/v1/a", "http://api.test/b", None),
            (
                "https://api.test/base",
                "/base/a",
                "https://api.test/based",
                None,
            ),
            ("https://api.test", "/v1/a", "https://", None),
        ] {
            let from = format!("https://api.test{from}").parse().unwrap();
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            let mapped = map(upstream).reference(&from, &value);
            let expected = expected.map(|rest| format!("{GATEWAY}{rest}"));
            let mapped = mapped.map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(mapped, expected, "{value:?}");
        }
    }

    #[test]
    fn cookie_of_the_upstream_fits_the_url_of_the_gateway() {
        for (path, expected) in [
            ("/", PREFIX),
            ("/base", PREFIX),
            ("/base/", PREFIX),
            ("/base/a/", &format!("{PREFIX}/a/")),
            // These are not the gateway's paths.
            ("/based", "/based"),
            ("/ba", "/ba"),
            ("/other", "/other"),
            ("", ""),
        ] {
            let set = |path| format!("a=\"1; Path={path}; Max-Age=5");
            let from = "https://api.test/base/v1".parse().unwrap();
            let map = map("https://api.test/base");
            let mapped = map.cookie(&from, &set(path).parse().unwrap());
            assert_eq!(mapped.unwrap(), set(expected));
        }
        let map = map("https://api.test");
        let from = "https://api.test/v1".parse().unwrap();
        for (attributes, expected) in [
            ("; Secure; HttpOnly", "; HttpOnly"),
            ("; domain=API.test; sEcure", ""),
            ("; Domain=.test; SameSite=None", "; SameSite=None"),
            ("; Domain=other.test", "; Domain=other.test"),
            ("; Domain=pi.test", "; Domain=pi.test"),
            (
                "; path=/v1/;Domain=",
                &format!("; Path={PREFIX}/v1/;Domain="),
            ),
        ] {
            let mapped = map.cookie(&from, &format!("a=1{attributes}").parse().unwrap());
            assert_eq!(mapped.unwrap(), format!("a=1{expected}"));
        }
        assert!(map.is_upstream(&from));
        assert!(!map.is_upstream(&"https://other.test/v1".parse().unwrap()));
    }

    #[test]
    fn referer_does_not_show_the_prefix() {
        let map = map("https://api.test/base");
        let token = &PREFIX[1..];
        for (value, expected) in [
            (
                format!("{GATEWAY}/v1?a"),
                Some("https://api.test/base/v1?a"),
            ),
            (GATEWAY.to_owned(), Some("https://api.test/base")),
            ("https://app.test/".to_owned(), Some("https://app.test/")),
            (format!("{GATEWAY}0"), None),
            (format!("http://localhost:1234/{token}/v1"), None),
            (
                format!("https://app.test/?from={}", token.to_uppercase()),
                None,
            ),
        ] {
            let mapped = map.referer(&value.parse().unwrap());
            assert_eq!(
                mapped.as_ref().map(|to| to.to_str().unwrap()),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn relative_reference_of_another_server_becomes_absolute() {
        let map = map("https://api.test/base");
        for (from, value, expected) in [
            ("https://other.test/a", "/b", "https://other.test/b"),
            ("https://api.test/base/a", "/b", "https://api.test/b"),
            (
                "https://other.test/a",
                "//third.test/b",
                "https://third.test/b",
            ),
        ] {
            let mapped = map.reference(&from.parse().unwrap(), &value.parse().unwrap());
            assert_eq!(mapped.unwrap(), expected);
        }
    }
}
