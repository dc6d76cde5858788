//! `Server-Timing` (W3C): the measurements of the server.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName};

use super::list::{is_token, members, parts};
use super::{MOST_ENTRIES, MOST_NAME};
use crate::timeout::LONGEST;

/// One of the metrics in `Server-Timing`. Its description is free text and is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerTiming {
    /// The name of the metric: `db`, `cache`, `total`.
    pub name: String,
    /// The measured time; `None` for a metric without one.
    pub duration: Option<Duration>,
}

pub(super) fn timings(headers: &HeaderMap) -> Vec<ServerTiming> {
    let members = members(headers, &SERVER_TIMING, false);
    members.filter_map(metric).take(MOST_ENTRIES).collect()
}

/// Parses `name;dur=12.3;desc="…"`. Of several `dur` the first counts.
fn metric(member: &str) -> Option<ServerTiming> {
    let mut parts = parts(member, b';', false);
    let name = parts.next().filter(|name| is_token(name))?;
    if name.len() > MOST_NAME {
        return None;
    }
    let mut durations = parts.filter_map(|param| {
        let (key, value) = param.split_once('=')?;
        key.trim_end_matches([' ', '\t'])
            .eq_ignore_ascii_case("dur")
            .then(|| value.trim_start_matches([' ', '\t']))
    });
    Some(ServerTiming {
        name: name.to_owned(),
        duration: durations.next().and_then(millis),
    })
}

/// Parses a number of milliseconds, with or without quotes. It must begin with a digit: `parse` alone would accept a
/// sign, `inf` and `nan`.
fn millis(text: &str) -> Option<Duration> {
    let text = text
        .strip_prefix('"')
        .and_then(|quoted| quoted.strip_suffix('"'))
        .unwrap_or(text);
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return None;
    }
    let millis: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(millis / 1e3)
        .ok()
        .filter(|took| *took <= LONGEST)
}

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
