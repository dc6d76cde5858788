//! The headers that belong to one connection (RFC 9110 §7.6.1). Pure.

use http::header::{CONNECTION, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE};

/// The headers of a single connection. HTTP/2 has none of them (RFC 9113 §8.2.2).
pub(crate) const OF_CONNECTIONS: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes these headers, those that `Connection` lists, and `others`.
pub(crate) fn remove(headers: &mut HeaderMap, others: &[HeaderName]) {
    let lines = headers.get_all(CONNECTION).iter();
    let listed: Vec<HeaderName> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(&OF_CONNECTIONS).chain(others) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::TE;

    use super::*;

    #[test]
    fn headers_of_one_hop_and_those_that_connection_lists_are_removed() {
        let lines = [
            ("connection", "keep-alive, X-Mine ,, a b"),
            ("connection", "x-other"),
            ("keep-alive", "timeout=5"),
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
        remove(&mut headers, &[TE]);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["trailer", "authorization"]);
    }
}
