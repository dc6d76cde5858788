//! `Via` (RFC 9110 §7.6.3): the middleboxes that forwarded a response.

use http::header::{HeaderMap, VIA};

use super::list::{is_token, members};
use super::{MOST_ENTRIES, MOST_NAME};

/// Returns the hosts or pseudonyms. Versions and comments are not kept.
pub(super) fn via(headers: &HeaderMap) -> Vec<String> {
    let members = members(headers, &VIA, true);
    members.filter_map(received_by).take(MOST_ENTRIES).collect()
}

/// Parses one member: `1.1 edge.test:443 (a comment)`.
fn received_by(member: &str) -> Option<String> {
    let mut words = member.split([' ', '\t']).filter(|word| !word.is_empty());
    let protocol = words.next()?;
    if !protocol.split('/').all(is_token) {
        return None;
    }
    let host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte);
    let by = words.next()?;
    let named = by.bytes().all(host) || is_token(by);
    (named && by.len() <= MOST_NAME).then(|| by.to_owned())
}
