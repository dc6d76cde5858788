//! Entries for the fuzz targets (`fuzz/`): the parsers of bytes that a peer sends. Not part of the API.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::hop::ServerReport;
use crate::policy::redirect::{RedirectRequest, next};
use crate::retry_after::hint;

/// Reads a response head, a header on each line, as the policies and the record do.
pub fn head(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let now = || SystemTime::UNIX_EPOCH;
    let _ = hint(&headers, now);
    let _ = ServerReport::read(&headers, now);
    crate::coding::fuzz::codings(&headers);
    crate::transport::fuzz::head(&headers);
    let uri = Uri::from_static("https://user:secret@api.test/a?b");
    for status in [301, 303, 307] {
        let asked = RedirectRequest {
            method: &Method::POST,
            uri: &uri,
            status: StatusCode::from_u16(status).unwrap_or_default(),
            replayable: true,
        };
        if let Ok(Some(leg)) = next(&asked, &headers) {
            assert!(leg.uri.host().is_some_and(|host| !host.is_empty()));
            let authority = leg.uri.authority().map(|authority| authority.as_str());
            let has_userinfo = authority.is_some_and(|authority| authority.contains('@'));
            assert_eq!(has_userinfo, !leg.away, "credentials stay at their origin");
        }
    }
}

/// Decodes a response body.
pub fn body(data: &[u8]) {
    crate::coding::fuzz::body(data);
}

/// Reads a response of a name server.
pub fn dns(data: &[u8]) {
    crate::dns::fuzz::response(data);
}

/// Reads hosts, nsswitch.conf and resolv.conf.
pub fn files(data: &[u8]) {
    crate::dns::fuzz::files(data);
}
