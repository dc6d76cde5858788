//! The response to a request whose time is over. Pure.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

/// Marks a response, in its extensions, that was made because the caller's time was over.
///
/// # Example
///
/// ```
/// use http::{Response, StatusCode};
/// use sevenhops::server::Expired;
///
/// /// For `tower::ServiceBuilder::map_response`, above the `InheritLayer`.
/// fn own_page(response: Response<String>) -> Response<String> {
///     match response.extensions().get::<Expired>() {
///         Some(_) => {
///             let (mut head, _) = response.into_parts();
///             head.status = StatusCode::SERVICE_UNAVAILABLE;
///             Response::from_parts(head, "too late".to_owned())
///         }
///         None => response,
///     }
/// }
/// # drop(own_page(Response::default()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    had_begun: bool,
}

impl Expired {
    /// Returns whether the handler had begun. If not, the request had no effect here.
    #[must_use]
    pub const fn had_begun(&self) -> bool {
        self.had_begun
    }
}

pub(super) fn expired<R: Default>(is_grpc: bool, had_begun: bool) -> Response<R> {
    let mut response = Response::new(R::default());
    if is_grpc {
        // Trailers-only: the head has the status.
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from_static("4"));
    } else {
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    }
    response.extensions_mut().insert(Expired { had_begun });
    response
}

/// Returns whether the request is gRPC's: its media type begins with `application/grpc`. gRPC-Web has another form.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_media_type() {
        for (value, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=1", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let value = HeaderValue::from_static(value);
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.clone())]);
            assert_eq!(is_grpc(&headers), is, "{value:?}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
