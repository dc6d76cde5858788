//! The headers that belong to one connection (RFC 9110 §7.6.1). Pure.

use http::header::{
    CONNECTION, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};

/// Removes the headers of one hop, and those that `Connection` lists.
pub(super) fn remove(headers: &mut HeaderMap) {
    let lines = headers.get_all(CONNECTION).iter();
    let listed: Vec<HeaderName> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(&ONE_HOP) {
        headers.remove(name);
    }
}

/// A credential for a proxy is for the next proxy alone (RFC 9110 §11.7.2): here that is the gateway.
const ONE_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_of_one_hop_and_those_that_connection_lists_are_removed() {
        let lines = [
            ("connection", "keep-alive, X-Mine ,, a b"),
            ("connection", "x-other"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authorization", "Basic dTpw"),
            ("proxy-connection", "close"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("x-other", "3"),
            ("trailer", "x-checksum"),
            ("authorization", "Bearer x"),
        ];
        let lines = lines.map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_static(value))
        });
        let mut headers: HeaderMap = lines.into_iter().collect();
        remove(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["trailer", "authorization"]);
    }
}
