//! The trailers of a request over HTTP/1. hyper drops those that the head does not announce, without an error.

use http::header::{self, HeaderMap, HeaderName, HeaderValue, TRAILER};

use crate::error::ReasonText;

/// The `Trailer` fields of a request (RFC 9110 §6.6.2).
#[derive(Debug, Default)]
pub(crate) struct AnnouncedTrailers(Vec<HeaderValue>);

impl AnnouncedTrailers {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.get_all(TRAILER).iter().cloned().collect())
    }

    /// Fails if one of these trailers would not be sent.
    pub(crate) fn check(&self, trailers: &HeaderMap) -> Result<(), ReasonText> {
        let mut names = trailers.keys();
        let lost = names.find(|name| NEVER_TRAILERS.contains(name) || !self.has(name));
        lost.map_or(Ok(()), |name| {
            Err(ReasonText::new(format!(
                "the trailer {name} cannot be sent: HTTP/1 needs a body without content-length, and a header \
                 \"trailer\" with this name"
            )))
        })
    }

    fn has(&self, name: &HeaderName) -> bool {
        let lists = self.0.iter().filter_map(|list| list.to_str().ok());
        let mut names = lists.flat_map(|list| list.split(','));
        names.any(|one| one.trim().eq_ignore_ascii_case(name.as_str()))
    }
}

/// The fields that hyper never sends as trailers (RFC 9110 §6.5.1).
const NEVER_TRAILERS: [HeaderName; 12] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::HOST,
    header::MAX_FORWARDS,
    header::SET_COOKIE,
    TRAILER,
    header::TRANSFER_ENCODING,
    header::TE,
];
