//! A body in the extensions of a reqwest request. A body of reqwest's would hide the function that creates it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::reqwest::SyncBody;
use super::{Body, Content};
use crate::box_error::BoxError;
use crate::error::ReasonText;
use crate::replay::CloneBody;

/// The way from the extensions of a request to its body.
#[derive(Clone)]
pub(crate) struct BodyExtension(Weak<Slot>);

/// A body that can be created anew, until a stack or its stand-in takes it.
struct Slot(Mutex<Option<Body>>);

/// The body that the request itself has. If no stack takes the body, the stand-in sends it once.
enum StandIn {
    Waiting(Arc<Slot>),
    Sending(SyncBody<Body>),
}

impl BodyExtension {
    /// Splits a body into reqwest's, and an extension if the body can be created anew.
    pub(crate) fn split(body: Body) -> (::reqwest::Body, Option<Self>) {
        let is_stream = !matches!(body.0, Content::Bytes(_));
        if !is_stream || body.clone_body().is_none() {
            return (body.into(), None);
        }
        let slot = Arc::new(Slot(Mutex::new(Some(body))));
        let extension = Self(Arc::downgrade(&slot));
        (
            ::reqwest::Body::wrap(StandIn::Waiting(slot)),
            Some(extension),
        )
    }

    /// Takes the body of a request. None if its stand-in was read, or if the request has another body by now.
    pub(crate) fn take(&self, within: &::reqwest::Body) -> Option<Body> {
        let slot = self.0.upgrade()?;
        let body = slot.take()?;
        if within.size_hint().exact() == Some(TAKEN) {
            return Some(body);
        }
        slot.put_back(body);
        None
    }
}

impl Slot {
    fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put_back(&self, body: Body) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.as_ref()
            .map_or_else(|| SizeHint::with_exact(TAKEN), HttpBody::size_hint)
    }
}

impl HttpBody for StandIn {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Sending(body) => Pin::new(body).poll_frame(cx),
            Self::Waiting(slot) => {
                let Some(body) = slot.take() else {
                    let error = ReasonText::new("a stack of sevenhops took this body");
                    return Poll::Ready(Some(Err(error.into())));
                };
                let mut body = SyncBody::new(body);
                let frame = Pin::new(&mut body).poll_frame(cx);
                *self = Self::Sending(body);
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Waiting(_) => false,
            Self::Sending(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Waiting(slot) => slot.size_hint(),
            Self::Sending(body) => body.size_hint(),
        }
    }
}

/// The length of a stand-in whose body was taken. No body is that long. A wrapper around the stand-in could change its
/// bytes. It is not mistaken for the stand-in unless it claims to keep the length.
const TAKEN: u64 = u64::MAX;
