//! The headers of an attempt, for an HTTP archive.

/// The headers of an attempt, as they may be shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptHeaders {
    pub(crate) request: Vec<(String, String)>,
    pub(crate) response: Vec<(String, String)>,
}
