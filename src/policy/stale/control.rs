//! Reads `Cache-Control` (RFC 9111 §5.2, RFC 5861). Pure.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

/// The directives of a request or a response that forbid the use of a stale response, or bound its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    /// `no-cache`, `must-revalidate`, `min-fresh`, or directives that contradict each other.
    pub(super) forbids: bool,
    /// The same, for a store that several users share: `proxy-revalidate`.
    pub(super) forbids_shared: bool,
    /// `s-maxage` is there. A shared store must not use the response once it is stale (RFC 9111 §5.2.2.10).
    pub(super) has_s_maxage: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    pub(super) stale_while_revalidate: Option<Duration>,
}

impl Control {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        let mut is_there = false;
        for value in headers.get_all(CACHE_CONTROL) {
            is_there = true;
            match value.to_str() {
                Ok(text) => directives(text).for_each(|directive| control.add(directive)),
                Err(_) => control.forbids = true,
            }
        }
        // Of HTTP/1.0. It counts only if there is no Cache-Control.
        let pragma = headers.get(PRAGMA).filter(|_| !is_there);
        let pragma = pragma.and_then(|value| value.to_str().ok());
        let is_no_cache = |text: &str| text.to_ascii_lowercase().contains("no-cache");
        control.forbids |= pragma.is_some_and(is_no_cache);
        control
    }

    fn add(&mut self, directive: &str) {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (directive, None),
        };
        let seconds = || {
            let seconds = value.and_then(|value| value.parse().ok());
            // An unreadable age is the strictest one.
            Duration::from_secs(seconds.unwrap_or(0))
        };
        match name.to_ascii_lowercase().as_str() {
            "no-cache" | "must-revalidate" | "min-fresh" => self.forbids = true,
            "proxy-revalidate" => self.forbids_shared = true,
            "s-maxage" => self.has_s_maxage = true,
            "max-age" => self.set(|own| &mut own.max_age, seconds()),
            "stale-if-error" => self.set(|own| &mut own.stale_if_error, seconds()),
            "stale-while-revalidate" => {
                self.set(|own| &mut own.stale_while_revalidate, seconds());
            }
            _ => {}
        }
    }

    /// Sets a value. Two different values of one directive are invalid (RFC 9111 §4.2.1).
    fn set(&mut self, field: fn(&mut Self) -> &mut Option<Duration>, value: Duration) {
        let before = field(self).replace(value);
        self.forbids |= before.is_some_and(|before| before != value);
    }
}

/// Splits at the commas that are not inside quotes.
fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let parts = text.split(move |c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Control {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, text.parse().unwrap());
        Control::read(&headers)
    }

    #[test]
    fn names_are_case_insensitive_and_quotes_hold_together() {
        for text in [
            "No-Cache",
            "max-age=10, MUST-REVALIDATE",
            "no-cache=\"set-cookie, x-a\"",
            "max-age=1, max-age=2",
            "min-fresh=3",
        ] {
            assert!(read(text).forbids, "{text}");
        }
        for text in [
            "max-age=10",
            "x=\"a, no-cache, b\"",
            "max-age=1, max-age=1",
            "",
        ] {
            assert!(!read(text).forbids, "{text}");
        }
        assert!(read("proxy-revalidate").forbids_shared);
        assert!(read("S-MaxAge=5").has_s_maxage);
    }

    #[test]
    fn ages_are_seconds_and_an_unreadable_one_is_zero() {
        let age = |text: &str| read(text).stale_if_error;
        for (text, seconds) in [
            ("stale-if-error=20", Some(20)),
            ("Stale-If-Error=\"20\"", Some(20)),
            ("stale-if-error", Some(0)),
            ("stale-if-error=soon", Some(0)),
            ("max-age=20", None),
        ] {
            assert_eq!(age(text), seconds.map(Duration::from_secs), "{text}");
        }
        let both = read("max-age=1, stale-while-revalidate=30");
        assert_eq!(both.max_age, Some(Duration::from_secs(1)));
        assert_eq!(both.stale_while_revalidate, Some(Duration::from_secs(30)));
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, "no-cache".parse().unwrap());
        assert!(Control::read(&headers).forbids);
        headers.insert(CACHE_CONTROL, "max-age=1".parse().unwrap());
        assert!(!Control::read(&headers).forbids);
    }
}
