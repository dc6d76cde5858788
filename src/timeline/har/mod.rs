//! Timelines as HAR 1.2, which the network panel of a browser opens.
//!
//! The format is that of <http://www.softwareishard.com/blog/har-12-spec/>: one entry an attempt, times
//! in milliseconds. What it has no field for stands in fields of our own, which begin with `_` as it
//! asks.

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
/// # What it holds
///
/// An entry for each attempt, in the order in which they began, and one for a call that ended before
/// its first. A wait before an attempt is part of what its entry was `blocked` for. `_hop`, `_kind`,
/// `_effect` and `_error_type` say how it failed, `_chaos` what befell it on purpose, `_caller_try` that the
/// call is a retry of the caller's, `_service_ms` how
/// long the service says that it took, `_connectionId` (this end's port, under Chromium's name for it)
/// which connections are the same.
///
/// URLs come without userinfo and query. There are no bodies, and no headers unless
/// [`Options::keep_headers`](crate::Options::keep_headers) asks for them.
#[derive(Clone, Debug)]
pub struct Har {
    /// Each with the time at which it began.
    entries: Vec<(String, Value)>,
}

impl Timeline {
    /// The call as an HTTP archive, as far as it is known now.
    #[must_use]
    pub fn to_har(&self) -> Har {
        std::iter::once(self).collect()
    }
}

impl<'t> FromIterator<&'t Timeline> for Har {
    fn from_iter<I: IntoIterator<Item = &'t Timeline>>(timelines: I) -> Self {
        let entries = timelines.into_iter().flat_map(entry::entries);
        let mut entries: Vec<_> = entries.collect();
        // All are written in the same form, in the same zone.
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
