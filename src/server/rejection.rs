//! The response to a request whose time is over. Pure.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
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

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
