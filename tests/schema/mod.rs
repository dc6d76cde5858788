//! HAR 1.2 (<http://www.softwareishard.com/blog/har-12-spec/>) as a strict check: each object has all required fields,
//! and no unknown ones.

use http::Uri;
use serde_json::{Map, Value};

/// A field: its name, whether it is required, and the check of its value.
type Field = (&'static str, Must, fn(&Value) -> bool);

#[derive(Clone, Copy, PartialEq)]
enum Must {
    Be,
    MayBe,
}
use Must::{Be, MayBe};

/// Checks an archive, and returns its entries.
pub(crate) fn checked(har: &str) -> Vec<Value> {
    let har: Value = serde_json::from_str(har).unwrap();
    object("har", &har, &[("log", Be, Value::is_object)]);
    let log = &har["log"];
    let fields: &[Field] = &[
        ("version", Be, |value| value == "1.2"),
        ("creator", Be, Value::is_object),
        ("browser", MayBe, Value::is_object),
        ("pages", MayBe, Value::is_array),
        ("entries", Be, Value::is_array),
        ("comment", MayBe, Value::is_string),
    ];
    object("log", log, fields);
    let fields: &[Field] = &[
        ("name", Be, Value::is_string),
        ("version", Be, Value::is_string),
        ("comment", MayBe, Value::is_string),
    ];
    object("creator", &log["creator"], fields);
    let entries = log["entries"].as_array().unwrap().clone();
    entries.iter().for_each(entry);
    let starts = |entry: &Value| entry["startedDateTime"].as_str().map(str::to_owned);
    assert!(entries.is_sorted_by_key(starts), "oldest first");
    entries
}

fn entry(entry: &Value) {
    let fields: &[Field] = &[
        ("pageref", MayBe, Value::is_string),
        ("startedDateTime", Be, is_date),
        ("time", Be, is_time),
        ("request", Be, Value::is_object),
        ("response", Be, Value::is_object),
        ("cache", Be, Value::is_object),
        ("timings", Be, Value::is_object),
        ("serverIPAddress", MayBe, is_ip),
        ("connection", MayBe, Value::is_string),
        ("comment", MayBe, Value::is_string),
    ];
    object("entry", entry, fields);
    request(&entry["request"]);
    response(&entry["response"]);
    timings(entry);
}

fn request(request: &Value) {
    let fields: &[Field] = &[
        ("method", Be, is_word),
        ("url", Be, is_url),
        ("httpVersion", Be, is_word),
        ("cookies", Be, is_empty),
        ("headers", Be, are_headers),
        ("queryString", Be, is_empty),
        ("headersSize", Be, is_size),
        ("bodySize", Be, is_size),
        ("comment", MayBe, Value::is_string),
    ];
    object("request", request, fields);
}

fn response(response: &Value) {
    let fields: &[Field] = &[
        ("status", Be, Value::is_u64),
        ("statusText", Be, Value::is_string),
        ("httpVersion", Be, is_word),
        ("cookies", Be, is_empty),
        ("headers", Be, are_headers),
        ("content", Be, Value::is_object),
        ("redirectURL", Be, |url| url == "" || is_url(url)),
        ("headersSize", Be, is_size),
        ("bodySize", Be, is_size),
        ("comment", MayBe, Value::is_string),
    ];
    object("response", response, fields);
    let fields: &[Field] = &[
        ("size", Be, Value::is_u64),
        ("compression", MayBe, Value::is_number),
        ("mimeType", Be, is_word),
        ("comment", MayBe, Value::is_string),
    ];
    object("content", &response["content"], fields);
}

/// Checks the times: the three required parts are never −1, `ssl` is within `connect`, and the time is the sum of all
/// the others.
fn timings(entry: &Value) {
    let timings = &entry["timings"];
    let fields: &[Field] = &[
        ("blocked", MayBe, is_part),
        ("dns", MayBe, is_part),
        ("connect", MayBe, is_part),
        ("send", Be, is_time),
        ("wait", Be, is_time),
        ("receive", Be, is_time),
        ("ssl", MayBe, is_part),
        ("comment", MayBe, Value::is_string),
    ];
    object("timings", timings, fields);
    let part = |name: &str| {
        timings[name]
            .as_f64()
            .filter(|part| *part >= 0.0)
            .unwrap_or(0.0)
    };
    assert!(part("ssl") <= part("connect"), "{timings}");
    let parts = ["blocked", "dns", "connect", "send", "wait", "receive"];
    let sum: f64 = parts.into_iter().map(part).sum();
    let time = entry["time"].as_f64().unwrap();
    assert!((sum - time).abs() < 1e-6, "{time} {timings}");
}

fn object(what: &str, value: &Value, fields: &[Field]) {
    let nothing = Map::new();
    let object = value.as_object().unwrap_or(&nothing);
    for (name, must, holds) in fields {
        match object.get(*name) {
            Some(value) => assert!(holds(value), "{name} of {what}: {value}"),
            None => assert!(*must == MayBe, "{what} has no {name}: {value}"),
        }
    }
    for name in object.keys().filter(|name| !name.starts_with('_')) {
        let known = fields.iter().any(|(field, ..)| field == name);
        assert!(known, "{what} has a {name} of its own");
    }
}

fn are_headers(value: &Value) -> bool {
    let fields: &[Field] = &[
        ("name", Be, is_word),
        ("value", Be, Value::is_string),
        ("comment", MayBe, Value::is_string),
    ];
    let headers = value.as_array();
    headers.is_some_and(|headers| {
        headers
            .iter()
            .for_each(|header| object("header", header, fields));
        true
    })
}

/// Checks that no cookies and queries are shown.
fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

fn is_word(value: &Value) -> bool {
    value.as_str().is_some_and(|word| !word.is_empty())
}

/// Checks that a URL is absolute and has no possible secrets.
fn is_url(value: &Value) -> bool {
    let Some(url) = value.as_str() else {
        return false;
    };
    let whole =
        url.starts_with("unknown:/") || url.parse::<Uri>().is_ok_and(|uri| uri.scheme().is_some());
    whole && !url.contains(['?', '#', '@'])
}

fn is_ip(value: &Value) -> bool {
    let address = value.as_str().map(str::parse::<std::net::IpAddr>);
    address.is_some_and(|address| address.is_ok())
}

fn is_size(value: &Value) -> bool {
    value.as_i64().is_some_and(|size| size >= -1)
}

fn is_time(value: &Value) -> bool {
    value.as_f64().is_some_and(|millis| millis >= 0.0)
}

fn is_part(value: &Value) -> bool {
    is_time(value) || *value == -1.0
}

/// Checks an ISO 8601 date, as in `2019-06-03T11:00:00.000001Z`.
fn is_date(value: &Value) -> bool {
    let digits = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
    value
        .as_str()
        .is_some_and(|date| digits(date) == "0000-00-00T00:00:00.000000Z")
}
