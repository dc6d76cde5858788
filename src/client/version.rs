//! The version of a file, by its validator and its length (RFC 9110 §13.1.5, §14.4).

use std::time::Duration;

use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderValue,
    LAST_MODIFIED,
};

use super::Response;

/// The version of a file.
pub(super) struct Version {
    pub(super) validator: HeaderValue,
    pub(super) total: u64,
}

impl Version {
    /// Returns the version of the file in a response; `None` if its body cannot continue.
    pub(super) fn of(response: &Response) -> Option<Self> {
        let headers = response.headers();
        let has_ranges = headers.get(ACCEPT_RANGES).is_none_or(|unit| unit != "none");
        if response.status() != StatusCode::OK || !has_ranges {
            return None;
        }
        Some(Self {
            validator: validator(headers)?,
            // Unknown for a body that was decoded: a range of its encoded form would not fit.
            total: response.content_length()?,
        })
    }

    /// Returns whether a response has the rest of this version, from this byte on.
    pub(super) fn goes_on(&self, response: &Response, from: u64) -> bool {
        let headers = response.headers();
        let name = match self.validator.as_bytes().starts_with(b"\"") {
            true => ETAG,
            false => LAST_MODIFIED,
        };
        // The rest may leave the validator out (RFC 9110 §15.3.7). Another one belongs to another version.
        let validators = headers.get_all(name);
        let is_same = validators.iter().all(|value| *value == self.validator);
        let range = headers
            .get(CONTENT_RANGE)
            .and_then(|range| range.to_str().ok());
        let range = range.and_then(content_range);
        let fits = range.is_some_and(|(first, last, total)| {
            first == from && last < self.total && total.is_none_or(|total| total == self.total)
        });
        let fits =
            fits && response.content_length() == range.map(|(first, last, _)| last - first + 1);
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        is_part && is_same && fits && !headers.contains_key(CONTENT_ENCODING)
    }
}

/// Returns the validator for `If-Range`, if it is strong (RFC 9110 §13.1.5, §8.8.2.2).
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    if let Some(tag) = headers.get(ETAG) {
        return tag.as_bytes().starts_with(b"\"").then(|| tag.clone());
    }
    let date = |name| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
    let (modified, sent) = (date(LAST_MODIFIED)?, date(DATE)?);
    let age = sent.duration_since(modified).ok()?;
    let is_strong = age >= STRONG_AGE;
    is_strong
        .then(|| headers.get(LAST_MODIFIED).cloned())
        .flatten()
}

/// The first byte of a part, the last one, and the length of the whole if it is known.
type FilePart = (u64, u64, Option<u64>);

/// Reads `bytes 5-9/10`.
fn content_range(text: &str) -> Option<FilePart> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |digits: &str| {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let total = match total {
        "*" => None,
        total => Some(number(total)?),
    };
    let (first, last) = (number(first)?, number(last)?);
    (unit.eq_ignore_ascii_case("bytes") && first <= last).then_some((first, last, total))
}

/// The seconds of a date are too coarse for two changes in one of them, and clocks differ.
const STRONG_AGE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_read_strictly() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, 9, Some(10)))),
            ("Bytes 5-9/*", Some((5, 9, None))),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes 5-/10", None),
            ("bytes +5-9/10", None),
            ("lines 5-9/10", None),
            ("bytes 5-99999999999999999999/10", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }

    #[test]
    fn only_a_strong_validator_counts() {
        let modified = ("last-modified", "Tue, 03 Nov 2026 10:00:00 GMT");
        let date = |text| ("date", text);
        for (lines, expected) in [
            (vec![("etag", "\"v1\"")], Some("\"v1\"")),
            (vec![("etag", "W/\"v1\"")], None),
            (
                vec![
                    ("etag", "W/\"v1\""),
                    modified,
                    date("Tue, 03 Nov 2026 12:00:00 GMT"),
                ],
                None,
            ),
            (
                vec![modified, date("Tue, 03 Nov 2026 10:01:00 GMT")],
                Some(modified.1),
            ),
            (vec![modified, date("Tue, 03 Nov 2026 10:00:59 GMT")], None),
            (vec![modified, date("Tue, 03 Nov 2026 09:00:00 GMT")], None),
            (vec![modified], None),
            (vec![], None),
        ] {
            let lines = lines.into_iter().map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            let found = validator(&lines.collect());
            assert_eq!(found.as_ref().and_then(|v| v.to_str().ok()), expected);
        }
    }
}
