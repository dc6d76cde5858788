//! The cookies that the upstream sets, for a jar that sees the gateway's URL (RFC 6265 §5.2). Pure.

use http::HeaderValue;

/// Returns a `Set-Cookie` without `Secure`, because the gateway has no TLS. It has no `Domain` that covers `host`, and
/// its `Path` is what `path` returns. All other parts stay, and so does an attribute that does not fit the upstream: the
/// jar ignores such a cookie.
pub(super) fn returned(
    value: &HeaderValue,
    host: &str,
    path: impl Fn(&str) -> Option<String>,
) -> Option<HeaderValue> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let mut parts = text.split(';');
    let mut returned = parts.next()?.to_owned();
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let mapped = match name.as_str() {
            "secure" => continue,
            "domain" if covers(value, host) => continue,
            "path" => path(value).map(|path| format!(" Path={path}")),
            _ => None,
        };
        returned.push(';');
        returned.push_str(mapped.as_deref().unwrap_or(part));
    }
    HeaderValue::from_bytes(returned.as_bytes()).ok()
}

/// Returns whether a cookie of this domain is sent to the host (RFC 6265 §5.1.3).
fn covers(domain: &str, host: &str) -> bool {
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let above = host.strip_suffix(&domain);
    !domain.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}
