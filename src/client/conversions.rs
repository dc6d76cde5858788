//! Bodies and responses as reqwest's, and back.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use reqwest::ResponseBuilderExt;
use sync_wrapper::SyncWrapper;

use super::body::{Body, Content, ResponseBody};
use super::response::Response;
use crate::box_error::BoxError;
#[cfg(feature = "middleware")]
use crate::driver::DriverBody;
use crate::hop::BodyFailed;
#[cfg(feature = "middleware")]
use crate::timeline::Timeline;
use crate::transport::measured::Measured;

impl Body {
    /// A body that fails where it does not have this length. Bytes have the one they have.
    pub(crate) fn measured(self, length: Option<u64>) -> Self {
        match self.0 {
            Content::Stream(stream) if length.is_some() => {
                let stream = Measured::new(stream, length);
                let stream = stream.map_err(|error| BoxError::from(BodyFailed(error)));
                Self(Content::Stream(stream.boxed_unsync()))
            }
            content => Self(content),
        }
    }
}

/// (Feature `reqwest`.)
impl From<Body> for reqwest::Body {
    fn from(body: Body) -> Self {
        match body.0 {
            Content::Bytes(bytes) => bytes.into_inner().unwrap_or_default().into(),
            Content::Stream(stream) => to_reqwest(stream),
        }
    }
}

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

/// A response of a stack below a middleware, as reqwest takes it: with its call.
#[cfg(feature = "middleware")]
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

/// A body that can be shared between threads because no method takes it by `&`.
struct Shared<B>(SyncWrapper<B>);

impl<B: HttpBody + Unpin> HttpBody for Shared<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(self.0.get_mut()).poll_frame(cx)
    }
}

/// A body as reqwest takes it.
fn to_reqwest<B>(body: B) -> reqwest::Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    reqwest::Body::wrap(Shared(SyncWrapper::new(body)))
}
