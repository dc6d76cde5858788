//! Spans, live: call → attempt → hop.

mod spans;

pub(crate) use self::spans::{AttemptSpans, call_span, end_call};
