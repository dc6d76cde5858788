//! A request on an HTTP/2 stream that has no response yet.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::RecvStream;
use h2::client::ResponseFuture;
use http::Response;

use super::expect::Wait;
use super::upload::{Rest, Upload};
use crate::record::Tracker;

/// A request in flight: its body is sent while the head of the response is awaited.
pub(super) struct InFlight {
    response: ResponseFuture,
    upload: Option<Upload>,
    /// Set while the body is kept back until the server asks for it.
    wait: Option<Wait>,
}

impl InFlight {
    pub(super) fn new(
        response: ResponseFuture,
        upload: Option<Upload>,
        wait: Option<Duration>,
    ) -> Self {
        Self {
            response,
            upload,
            wait: wait.map(Wait::new),
        }
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, h2::Error>> {
        if let Some(wait) = &mut self.wait
            && wait.poll(&mut self.response, cx).is_ready()
        {
            self.wait = None;
        }
        if let Some(upload) = self.upload.as_mut().filter(|_| self.wait.is_none())
            && upload.poll(cx).is_ready()
        {
            // If it failed, the stream was reset, and the response reports that.
            self.upload = None;
        }
        Pin::new(&mut self.response).poll(cx)
    }

    /// Returns the state of the body once the head of the response has come.
    pub(super) fn rest(self, tracker: &Tracker) -> Rest {
        match (self.upload, self.wait) {
            (None, _) => Rest::None,
            (Some(upload), None) => Rest::Goes(upload),
            (Some(_), Some(_)) => {
                tracker.withheld();
                Rest::Withheld
            }
        }
    }
}
