//! Reads the fields of a response head about its HTTP/1 connection.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};

/// Returns the server's timeout for idle connections: the shortest one that the fields name.
pub(super) fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all("keep-alive").iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let parameters = lines
        .flat_map(|line| line.split([',', ';']))
        .filter_map(|one| one.split_once('='));
    parameters
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))
        .filter_map(|(_, value)| whole_seconds(value))
        .min()
}

/// Returns the digits that a value begins with: some servers add a fraction or a unit.
fn whole_seconds(value: &str) -> Option<Duration> {
    let value = value.trim().trim_start_matches('"');
    let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(Duration::from_secs)
}

#[cfg(fuzzing)]
pub(crate) fn fuzz(headers: &HeaderMap) {
    let _ = keep_alive(headers);
    let _ = misframed(headers);
}

/// Returns why the head does not determine the end of the body (RFC 9112 §6.3).
pub(super) fn misframed(headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    if headers.contains_key(CONTENT_LENGTH) {
        return Some("the response has both transfer-encoding and content-length");
    }
    let is_chunked = coding
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked");
    (!is_chunked || codings.next().is_some())
        .then_some("the response has a transfer-encoding other than chunked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        });
        lines.collect()
    }

    #[test]
    fn keep_alive_of_the_server_is_read() {
        for (value, seconds) in [
            ("timeout=5, max=100", Some(5)),
            ("max=100,Timeout = 12", Some(12)),
            ("timeout=\"7\"", Some(7)),
            ("timeout=0", Some(0)),
            ("timeout=5; max=100", Some(5)),
            ("max=100;timeout=6s", Some(6)),
            ("timeout=7.9", Some(7)),
            ("timeout=9, timeout=8", Some(8)),
            ("timeout=9, timeout=soon", Some(9)),
            ("timeout=-1", None),
            ("timeout=soon", None),
            ("timeout", None),
            ("", None),
        ] {
            let read = keep_alive(&headers(&[("keep-alive", value)]));
            assert_eq!(read, seconds.map(Duration::from_secs), "{value:?}");
        }
        let lines = ["max=100", "timeout=9", "timeout=3"];
        let lines = lines.map(|value| ("keep-alive", value));
        assert_eq!(keep_alive(&headers(&lines)), Some(Duration::from_secs(3)));
        assert_eq!(keep_alive(&HeaderMap::new()), None);
    }

    #[test]
    fn only_chunked_alone_delimits_a_body() {
        let chunked = ("transfer-encoding", "chunked");
        let length = ("content-length", "3");
        for (lines, is_wrong) in [
            (&[][..], false),
            (&[length], false),
            (&[chunked], false),
            (&[("transfer-encoding", " Chunked ")], false),
            (&[chunked, length], true),
            (&[chunked, chunked], true),
            (&[("transfer-encoding", "gzip, chunked")], true),
            (&[("transfer-encoding", "gzip"), chunked], true),
            (&[("transfer-encoding", "identity")], true),
        ] {
            assert_eq!(misframed(&headers(lines)).is_some(), is_wrong, "{lines:?}");
        }
    }
}
