//! The recorded calls as text, JSON and HAR.

use std::fmt;

use httpdate::fmt_http_date;

use super::FlightRecorder;
use crate::destination::Destination;
#[cfg(feature = "har")]
use crate::timeline::Har;
use crate::timeline::Timeline;

/// The recorded calls of one destination.
#[derive(Clone, Debug)]
pub struct RecordedCalls {
    pub(super) destination: Destination,
    pub(super) failed: Vec<Timeline>,
    pub(super) slowest: Vec<Timeline>,
}

impl RecordedCalls {
    /// Returns the destination.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Returns the last failed calls, the newest first.
    #[must_use]
    pub fn failed(&self) -> &[Timeline] {
        &self.failed
    }

    /// Returns the slowest calls that did not fail, the slowest first.
    #[must_use]
    pub fn slowest(&self) -> &[Timeline] {
        &self.slowest
    }
}

#[cfg(feature = "har")]
impl FlightRecorder {
    /// Returns all recorded calls as an HTTP archive.
    #[must_use]
    pub fn to_har(&self) -> Har {
        let all = self.destinations();
        let calls = all
            .iter()
            .flat_map(|of| of.failed.iter().chain(&of.slowest));
        calls.collect()
    }
}

impl fmt::Display for FlightRecorder {
    /// Draws each call, and explains each failure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.destinations();
        if all.is_empty() {
            return f.write_str("No call is recorded.\n");
        }
        all.iter().try_for_each(|calls| write!(f, "{calls}"))
    }
}

impl fmt::Display for RecordedCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, slowest) = (self.failed.len(), self.slowest.len());
        let destination = &self.destination;
        writeln!(f, "== {destination}: {failed} failed, {slowest} slowest")?;
        for call in self.failed.iter().chain(&self.slowest) {
            let began = fmt_http_date(call.started_at());
            writeln!(f, "\nBegan {began}\n{}", call.to_string().trim_end())?;
            if let Some(explanation) = call.explain() {
                writeln!(f, "{explanation}")?;
            }
        }
        writeln!(f)
    }
}

#[cfg(feature = "serde")]
mod json {
    use serde::ser::{Serialize, SerializeStruct, Serializer};

    use super::{FlightRecorder, RecordedCalls};

    /// Serializes the recorder. Calls have the form of a [`Timeline`](crate::Timeline):
    ///
    /// ```json
    /// {"destinations": [{"destination": "https://api.test", "failed": [], "slowest": []}]}
    /// ```
    impl Serialize for FlightRecorder {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut fields = serializer.serialize_struct("FlightRecorder", 1)?;
            fields.serialize_field("destinations", &self.destinations())?;
            fields.end()
        }
    }

    impl Serialize for RecordedCalls {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut fields = serializer.serialize_struct("RecordedCalls", 3)?;
            fields.serialize_field("destination", self.destination.as_str())?;
            fields.serialize_field("failed", &self.failed)?;
            fields.serialize_field("slowest", &self.slowest)?;
            fields.end()
        }
    }
}
