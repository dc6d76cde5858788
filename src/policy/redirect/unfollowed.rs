//! Why a redirect is the response of a call: pure.

use http::{HeaderMap, StatusCode, Uri};

use super::next::{Unusable, is_followed, location};

/// Why a redirect was not followed, for a caller who follows redirects.
///
/// The redirect layer returns a response that leads nowhere as it is. So each reason but the last can be
/// read from the response.
pub(crate) fn unfollowed(here: &Uri, status: StatusCode, headers: &HeaderMap) -> &'static str {
    if !is_followed(status) {
        return "this status is never followed";
    }
    match location(here, headers) {
        Err(Unusable::Missing) => "it has no Location",
        Err(Unusable::Ambiguous) => "it has several Locations, and they differ",
        Err(Unusable::Malformed) => "its Location is malformed",
        Ok(_) => "the request body cannot be sent again",
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::LOCATION;

    use super::*;

    #[test]
    fn reason_is_read_from_the_response() {
        let here = Uri::from_static("https://api.test/a");
        for (status, locations, expected) in [
            (302, &[][..], "it has no Location"),
            (
                307,
                &["/a", "/b"],
                "it has several Locations, and they differ",
            ),
            (302, &["https://"], "its Location is malformed"),
            (308, &["/b"], "the request body cannot be sent again"),
            (300, &["/b"], "this status is never followed"),
            (305, &[], "this status is never followed"),
            (399, &[], "this status is never followed"),
        ] {
            let mut headers = HeaderMap::new();
            for location in locations {
                headers.append(LOCATION, HeaderValue::from_static(location));
            }
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(unfollowed(&here, status, &headers), expected, "{status}");
        }
    }
}
