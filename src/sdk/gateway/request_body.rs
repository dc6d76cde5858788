//! The body of an SDK's request, as the client sends it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use tokio::sync::Mutex;

use crate::body::Body;
use crate::box_error::BoxError;

/// Returns a body that can be retried if its length is known and small. A larger one is streamed, and sent once.
pub(super) fn request_body<B>(incoming: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    if incoming.is_end_stream() {
        return Body::empty();
    }
    match incoming.size_hint().exact() {
        Some(length) if length <= MOST_KEPT_BYTES => kept(incoming, length),
        _ => Body::wrap(incoming),
    }
}

/// Receives the body within the first attempt, and keeps it for the next one.
fn kept<B>(incoming: B, length: u64) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let received = BytesMut::new();
    let kept = Arc::new(Mutex::new(Kept { incoming, received }));
    let whole = move || {
        let kept = Arc::clone(&kept);
        async move { kept.lock().await.whole().await.map(Body::from) }
    };
    Body::retryable(whole).with_length(length)
}

struct Kept<B> {
    incoming: B,
    received: BytesMut,
}

impl<B> Kept<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Receives the rest. Cancel safe: the part that has arrived is kept.
    async fn whole(&mut self) -> Result<Bytes, BoxError> {
        while let Some(frame) = self.incoming.frame().await {
            if let Ok(piece) = frame.map_err(Into::into)?.into_data() {
                self.received.extend_from_slice(&piece);
            }
        }
        Ok(self.received.clone().freeze())
    }
}

/// The JSON of an API's request fits. An attempt cannot begin before such a body has arrived whole.
const MOST_KEPT_BYTES: u64 = 64 << 10;
