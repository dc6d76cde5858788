//! Conversions between responses of this crate and of reqwest.

#[cfg(feature = "reqwest-middleware")]
use bytes::Bytes;
#[cfg(feature = "reqwest-middleware")]
use http_body::Body as HttpBody;
use reqwest::ResponseBuilderExt;

use super::body::ResponseBody;
use super::response::Response;
use crate::body::to_reqwest;
#[cfg(feature = "reqwest-middleware")]
use crate::box_error::BoxError;
#[cfg(feature = "reqwest-middleware")]
use crate::driver::DriverBody;
#[cfg(feature = "reqwest-middleware")]
use crate::timeline::Timeline;

/// (Feature `reqwest`.)
impl From<Response> for reqwest::Response {
    fn from(response: Response) -> Self {
        let url = response.uri.to_string().parse();
        let (mut head, body) = http::Response::<ResponseBody>::from(response).into_parts();
        // reqwest keeps the URL in an extension that only its builder can write.
        if let Ok(url) = url
            && let Ok(marked) = http::Response::builder().url(url).body(())
        {
            head.extensions.extend(marked.into_parts().0.extensions);
        }
        http::Response::from_parts(head, to_reqwest(body)).into()
    }
}

/// (Feature `reqwest`.)
impl From<reqwest::Response> for Response {
    fn from(response: reqwest::Response) -> Self {
        let uri = response.url().as_str().parse().unwrap_or_default();
        let mut ours = Self::from(http::Response::<reqwest::Body>::from(response));
        ours.uri = uri;
        ours
    }
}

/// Converts a response of a stack below a middleware into reqwest's type, and keeps its call.
#[cfg(feature = "reqwest-middleware")]
pub(crate) fn shared<R>(response: http::Response<DriverBody<R>>) -> http::Response<reqwest::Body>
where
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let Timeline(call) = response.body().timeline().clone();
    let mut response = response.map(|body| to_reqwest(Box::pin(body)));
    response.extensions_mut().insert(call);
    response
}
