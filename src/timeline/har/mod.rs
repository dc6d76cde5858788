//! Timelines as HAR 1.2, which the network panel of a browser opens.
//!
//! The format is that of <http://www.softwareishard.com/blog/har-12-spec/>: one entry for each attempt, times in
//! milliseconds. Facts without a standard field are in custom fields, which begin with `_` as the format requires.

mod entry;
mod headers;

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::Timeline;

pub(crate) use self::headers::{keep_request, keep_response};

/// Calls as an HTTP archive (HAR 1.2). Its text is JSON, indented by `{:#}`.
///
/// # Example
///
/// One call, or all of a run:
///
/// ```no_run
/// # fn f(timeline: sevenhops::Timeline, run: Vec<sevenhops::Timeline>) -> std::io::Result<()> {
/// use sevenhops::hop::Har;
///
/// std::fs::write("call.har", timeline.to_har().to_string())?;
/// std::fs::write("run.har", run.iter().collect::<Har>().to_string())?;
/// # Ok(()) }
/// ```
///
/// # Content
///
/// There is an entry for each attempt, in the order of their start, and one for a call that ended before its first
/// attempt. A wait before an attempt is part of its entry's `blocked` time. `_hop`, `_kind`, `_effect` and
/// `_error_type` describe
/// the failure, and `_chaos` names an injected fault. `_caller_try` means that the call is a retry by the caller.
/// `_service_ms` is the time that the service claims to have spent. `_connectionId` (the local port, under Chromium's
/// name) identifies the connection.
///
/// URLs have no userinfo and no query. There are no bodies, and no headers unless
/// [`Options::keep_headers`](crate::Options::keep_headers) asks for them.
#[derive(Clone, Debug)]
pub struct Har {
    /// Each entry with its start time.
    entries: Vec<(String, Value)>,
}

impl Timeline {
    /// Returns the call as an HTTP archive, with the facts known so far.
    #[must_use]
    pub fn to_har(&self) -> Har {
        std::iter::once(self).collect()
    }
}

impl<'t> FromIterator<&'t Timeline> for Har {
    fn from_iter<I: IntoIterator<Item = &'t Timeline>>(timelines: I) -> Self {
        let entries = timelines.into_iter().flat_map(entry::entries);
        let mut entries: Vec<_> = entries.collect();
        // All start times have the same format and the same time zone.
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self { entries }
    }
}

impl Serialize for Har {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries: Vec<_> = self.entries.iter().map(|(_, entry)| entry).collect();
        let creator = json!({
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
        });
        let har = json!({ "log": { "version": "1.2", "creator": creator, "entries": entries } });
        har.serialize(serializer)
    }
}

impl fmt::Display for Har {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if f.alternate() {
            serde_json::to_string_pretty(self)
        } else {
            serde_json::to_string(self)
        };
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}
