//! Reads from a response how many requests the server still allows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName};
use sfv::ListEntry;

use crate::retry_after::{quotas, readable, server_time};
use crate::timeout::LONGEST;

/// The rest of a quota: how many requests are left, and the time until they are renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) left: u64,
    pub(super) reset: Duration,
}

/// Returns the quota with the fewest requests left: by `RateLimit` (draft-ietf-httpapi-ratelimit-headers), else by
/// `x-ratelimit-remaining` and `x-ratelimit-reset`. Unreadable fields are ignored.
pub(super) fn quota(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Quota> {
    let quota = standard(headers).or_else(|| common(headers, now))?;
    Some(Quota {
        reset: quota.reset.min(LONGEST),
        ..quota
    })
}

fn standard(headers: &HeaderMap) -> Option<Quota> {
    let list = quotas(headers)?;
    let left = list.iter().filter_map(|quota| {
        let ListEntry::Item(item) = quota else {
            return None;
        };
        let number = |key| {
            let number: i64 = item.params.get(key)?.as_integer()?.into();
            u64::try_from(number).ok()
        };
        Some(Quota {
            left: number("r")?,
            reset: Duration::from_secs(number("t").unwrap_or_default()),
        })
    });
    // Of two quotas that are used up, the later reset counts.
    left.min_by_key(|quota| (quota.left, std::cmp::Reverse(quota.reset)))
}

fn common(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Quota> {
    let number = |text: &str| text.parse::<u64>().ok();
    let left = readable(headers, &REMAINING, number)?;
    let reset = readable(headers, &RESET, number).unwrap_or_default();
    let reset = match reset < FIRST_DATE {
        true => Duration::from_secs(reset),
        false => {
            let now = server_time(headers).unwrap_or_else(now);
            let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
            Duration::from_secs(reset).saturating_sub(now)
        }
    };
    Some(Quota { left, reset })
}

const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
/// A larger number of seconds is a date: GitHub's reset is one. As a wait it would be over 30 years.
const FIRST_DATE: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&'static str, &str)]) -> Option<(u64, u64)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let now = || UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        quota(&headers, now).map(|quota| (quota.left, quota.reset.as_secs()))
    }

    #[test]
    fn quota_with_the_fewest_requests_left_counts() {
        for (value, expected) in [
            (r#""default";r=50;t=30"#, Some((50, 30))),
            (r#""default";r=50"#, Some((50, 0))),
            (r#""second";r=3;t=1, "day";r=2;t=3600"#, Some((2, 3600))),
            (r#""second";r=0;t=1, "day";r=0;t=3600"#, Some((0, 3600))),
            (r#""default";r=-1;t=30"#, None),
            (r#""default";t=30"#, None),
            ("50;w=60", None),
            ("\"", None),
        ] {
            assert_eq!(read(&[("ratelimit", value)]), expected, "{value}");
        }
        let lines = [
            ("ratelimit", r#""a";r=9;t=1"#),
            ("ratelimit", r#""b";r=8;t=2"#),
        ];
        assert_eq!(read(&lines), Some((8, 2)));
    }

    #[test]
    fn reset_of_the_common_fields_is_a_wait_or_a_date() {
        let common = |left, reset| {
            read(&[
                ("x-ratelimit-remaining", left),
                ("x-ratelimit-reset", reset),
            ])
        };
        assert_eq!(common("7", "30"), Some((7, 30)));
        assert_eq!(common("0", "1700000060"), Some((0, 60)));
        assert_eq!(common("0", "1600000000"), Some((0, 0)));
        assert_eq!(common("0", "soon"), Some((0, 0)));
        assert_eq!(common("0", "999999999"), Some((0, 86_400)));
        assert_eq!(common("few", "30"), None);
        assert_eq!(read(&[("x-ratelimit-remaining", "5")]), Some((5, 0)));
        let date = ("date", "Tue, 14 Nov 2023 22:13:00 GMT"); // 20 s earlier
        let left = ("x-ratelimit-remaining", "0");
        let fields = [left, ("x-ratelimit-reset", "1700000060"), date];
        assert_eq!(read(&fields), Some((0, 80)));
        let both = [left, ("ratelimit", r#""default";r=4;t=5"#)];
        assert_eq!(read(&both), Some((4, 5)));
    }
}
