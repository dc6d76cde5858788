//! The facts of a request that telemetry may show, by OpenTelemetry's HTTP conventions.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{Method, Uri};

use crate::redact::ascii;

/// Returns the method for a metric or a span: a known method or `_OTHER`, so that a caller cannot create new values.
pub(crate) fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "CONNECT" => "CONNECT",
        "DELETE" => "DELETE",
        "GET" => "GET",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "POST" => "POST",
        "PUT" => "PUT",
        "QUERY" => "QUERY",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}

/// Returns the original method if [`method`] returns another value.
pub(super) fn original(request: &Method) -> Option<&str> {
    Some(request.as_str()).filter(|sent| *sent != method(request))
}

/// Returns the name of a span: the method, and the route if it is known.
pub(super) fn span_name(request: &Method, route: Option<&str>) -> Cow<'static, str> {
    let method = match method(request) {
        "_OTHER" => "HTTP",
        known => known,
    };
    match route {
        Some(route) => format!("{method} {route}").into(),
        None => method.into(),
    }
}

/// Returns the URL without possible secrets: userinfo and every value of the query are replaced. The conventions list
/// only a few parameters with credentials, and no list can be complete.
pub(super) fn full_url(uri: &Uri) -> String {
    let mut shown = crate::redact::redacted(uri);
    let userinfo = uri.authority().filter(|a| a.as_str().contains('@'));
    if userinfo.is_some()
        && let Some(scheme) = shown.find("://")
    {
        shown.insert_str(scheme + 3, "REDACTED:REDACTED@");
    }
    if let Some(query) = uri.query() {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            // A name without a value may be the secret itself, and `=` may be the end of its base64.
            Some((name, value)) if !value.trim_end_matches('=').is_empty() => {
                format!("{}=REDACTED", ascii(name))
            }
            None if pair.is_empty() => String::new(),
            _ => "REDACTED".to_owned(),
        });
        shown.push('?');
        shown.push_str(&pairs.collect::<Vec<_>>().join("&"));
    }
    shown
}

/// Returns `server.address`: a lowercase name, or an address without the brackets of a URL.
pub(crate) fn host(uri: &Uri) -> Option<Cow<'_, str>> {
    let host = uri.host()?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    Some(match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    })
}

/// Formats an address without the cost of `Display`: every attempt has one.
pub(super) fn ip(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else {
        return address.to_string();
    };
    let [first, rest @ ..] = address.octets();
    let mut digits = itoa::Buffer::new();
    let mut shown = String::with_capacity("255.255.255.255".len());
    shown.push_str(digits.format(first));
    for octet in rest {
        shown.push('.');
        shown.push_str(digits.format(octet));
    }
    shown
}

/// Returns the port of a URL, explicit or its scheme's default. It is signed, like OpenTelemetry's integers.
pub(crate) fn port(uri: &Uri) -> Option<i64> {
    let port = uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    });
    port.map(i64::from)
}

/// Returns `network.protocol.version`.
pub(crate) fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "0.9",
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_url_keeps_the_shape_and_hides_what_may_be_secret() {
        for (uri, shown) in [
            (
                "https://u:canary@api.test:8443/v1?key=canary&b=canary",
                "https://REDACTED:REDACTED@api.test:8443/v1?key=REDACTED&b=REDACTED",
            ),
            ("https://api.test/v1?canary", "https://api.test/v1?REDACTED"),
            (
                "https://api.test/v1?canary==",
                "https://api.test/v1?REDACTED",
            ),
            ("https://api.test/v1?", "https://api.test/v1?"),
            (
                "https://api.test/v1?a=canary=canary&&b",
                "https://api.test/v1?a=REDACTED&&REDACTED",
            ),
            ("http://[::1]:80/", "http://[::1]:80/"),
        ] {
            assert_eq!(full_url(&uri.parse().unwrap()), shown);
        }
    }

    #[test]
    fn host_is_as_the_conventions_write_it() {
        for (uri, shown) in [
            ("https://API.test/", "api.test"),
            ("http://[::1]:80/", "::1"),
            ("http://127.0.0.1/", "127.0.0.1"),
        ] {
            assert_eq!(host(&uri.parse().unwrap()).unwrap(), shown);
        }
        assert_eq!(host(&"/v1".parse().unwrap()), None);
    }

    #[test]
    fn ip_is_written_as_everywhere_else() {
        for address in ["127.0.0.1", "0.10.255.9", "::1", "2001:db8::7"] {
            assert_eq!(ip(address.parse().unwrap()), address);
        }
    }

    #[test]
    fn method_that_is_not_known_has_one_name() {
        let purge = Method::from_bytes(b"PURGE").unwrap();
        assert_eq!(method(&purge), "_OTHER");
        assert_eq!(span_name(&purge, None), "HTTP");
        assert_eq!(span_name(&Method::GET, Some("/v1/{id}")), "GET /v1/{id}");
    }
}
