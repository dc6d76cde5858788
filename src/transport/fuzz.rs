//! The readers of a response head, for the fuzz targets.

use http::HeaderMap;

pub(crate) fn head(headers: &HeaderMap) {
    super::wire::head::fuzz(headers);
}
