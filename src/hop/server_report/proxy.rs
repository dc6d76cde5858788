//! `Proxy-Status` (RFC 9209): the reports of middleboxes about a response.

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, List, ListEntry, Parser};

use super::list::{MOST_BYTES, MOST_LINES};
use super::{MOST_ENTRIES, MOST_NAME};

/// The report of a middlebox about a response. Its details are free text and are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyStatus {
    /// The name of the middlebox.
    pub name: String,
    /// The error between the middlebox and the next hop (RFC 9209 §2.3), if there was one.
    pub error: Option<String>,
    /// The status that the middlebox received from the next hop.
    pub received_status: Option<StatusCode>,
}

impl ProxyStatus {
    /// Returns whether the middlebox itself made a response with this failing status.
    ///
    /// Only a middlebox that could not forward a response reports most of the errors. An error about a broken or
    /// oversized response may also mark a forwarded response. Then the response keeps its status, and for a server's
    /// error the proxy reports the received status.
    pub(crate) fn made(&self, status: StatusCode) -> bool {
        let Some(error) = self.error.as_deref() else {
            return false;
        };
        let about_the_answer =
            error.starts_with("http_response_") && error != "http_response_timeout";
        let passed_on = status.as_u16() < 500 || self.received_status == Some(status);
        !(about_the_answer && passed_on)
    }

    /// Returns whether the middlebox may have forwarded the request before its error. That is possible for all errors
    /// except those by which a proxy declines a request.
    pub(crate) fn may_have_sent(&self) -> bool {
        let error = self.error.as_deref();
        error.is_some_and(|error| !DECLINED.contains(&error))
    }
}

pub(crate) fn proxies(headers: &HeaderMap) -> Vec<ProxyStatus> {
    if !headers.contains_key(&PROXY_STATUS) {
        return Vec::new();
    }
    // A list may be split over several lines (RFC 9651 §4.2).
    let lines = headers.get_all(&PROXY_STATUS).into_iter();
    let lines: Vec<&[u8]> = lines
        .take(MOST_LINES)
        .map(HeaderValue::as_bytes)
        .filter(|line| line.len() <= MOST_BYTES)
        .collect();
    let list = Parser::new(&lines.join(&b", "[..])).parse::<List>();
    let entries = list.unwrap_or_default();
    entries
        .iter()
        .filter_map(proxy)
        .take(MOST_ENTRIES)
        .collect()
}

fn proxy(entry: &ListEntry) -> Option<ProxyStatus> {
    let ListEntry::Item(item) = entry else {
        return None;
    };
    let error = item.params.get("error").and_then(BareItem::as_token);
    let received = item.params.get("received-status");
    let received = received.and_then(BareItem::as_integer);
    Some(ProxyStatus {
        name: name(&item.bare_item)?,
        error: error.map(|error| plain(error.as_str())),
        received_status: received.and_then(|status| {
            let status = u16::try_from(i64::from(status)).ok()?;
            StatusCode::from_u16(status).ok()
        }),
    })
}

/// Returns the text of a token or a string.
fn name(item: &BareItem) -> Option<String> {
    let token = item.as_token().map(sfv::TokenRef::as_str);
    let text = token.or_else(|| item.as_string().map(sfv::StringRef::as_str))?;
    Some(plain(text)).filter(|name| !name.is_empty())
}

/// Returns the first word, up to [`MOST_NAME`] bytes.
fn plain(text: &str) -> String {
    let word = text.chars().take_while(char::is_ascii_graphic);
    word.take(MOST_NAME).collect()
}

/// The errors (RFC 9209 §2.3) that a proxy reports with a 4xx before it forwards anything.
const DECLINED: [&str; 7] = [
    "connection_limit_reached",
    "destination_ip_prohibited",
    "destination_not_found",
    "http_request_denied",
    "http_request_error",
    "proxy_configuration_error",
    "proxy_internal_response",
];
pub(crate) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
