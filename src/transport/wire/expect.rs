//! The wait for `100 Continue` before the body of a request is sent (RFC 9110 §10.1.1).

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use http::header::EXPECT;
use http::{HeaderMap, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::exchange::SendBody;
use crate::box_error::BoxError;
use crate::record::Tracker;

/// Returns whether a request asks the server before it sends its body.
pub(crate) fn asks(headers: &HeaderMap) -> bool {
    let mut expectations = headers.get_all(EXPECT).iter();
    expectations.any(|value| {
        let value = value.as_bytes().trim_ascii();
        value.eq_ignore_ascii_case(b"100-continue")
    })
}

/// Returns how long the body waits if the server does not respond. It is less than the send timeout, which runs
/// meanwhile.
pub(crate) fn patience(headers: &HeaderMap, send: Duration) -> Option<Duration> {
    asks(headers).then(|| LONGEST.min(send / 2))
}

/// Keeps the body of an HTTP/1 request back until the server asks for it, or until this time is over.
pub(crate) fn keep_back(
    request: Request<SendBody>,
    timeout: Duration,
    tracker: &Arc<Tracker>,
) -> Request<SendBody> {
    let (asked, word) = oneshot::channel();
    let mut request = request.map(|body| -> SendBody {
        Box::pin(KeptBack {
            body,
            state: State::Waits(word, Alarm::new(timeout)),
            tracker: Arc::clone(tracker),
        })
    });
    let asked = Mutex::new(Some(asked));
    // hyper drops this with the head of the final response.
    hyper::ext::on_informational(&mut request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
            let _ = asked.map(|asked| asked.send(()));
        }
    });
    request
}

/// The timer of the wait. It starts at the first poll.
struct Alarm {
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            sleep: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(timeout)));
        sleep.as_mut().poll(cx)
    }
}

/// A body that may have to wait.
struct KeptBack {
    body: SendBody,
    state: State,
    tracker: Arc<Tracker>,
}

enum State {
    Waits(oneshot::Receiver<()>, Alarm),
    Released,
    /// The response came first. The connection ends with it, because the body is never sent.
    Withheld,
}

impl KeptBack {
    fn poll_released(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Released => return Poll::Ready(()),
            State::Withheld => return Poll::Pending,
            State::Waits(word, alarm) => match Pin::new(word).poll(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    self.state = State::Withheld;
                    self.tracker.withheld();
                    return Poll::Pending;
                }
                Poll::Pending => ready!(alarm.poll(cx)),
            },
        }
        self.state = State::Released;
        Poll::Ready(())
    }
}

impl Body for KeptBack {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        ready!(self.poll_released(cx));
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The same wait on an HTTP/2 stream.
pub(super) struct Wait(Alarm);

impl Wait {
    pub(super) fn new(timeout: Duration) -> Self {
        Self(Alarm::new(timeout))
    }

    /// Ready when the body may be sent. Pending if the response has come.
    pub(super) fn poll(&mut self, response: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match response.poll_informational(cx) {
                Poll::Ready(Some(Ok(head))) if head.status() == StatusCode::CONTINUE => {
                    return Poll::Ready(());
                }
                Poll::Ready(Some(Ok(_))) => {}
                // The caller polls the response next.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Pending,
                Poll::Pending => return self.0.poll(cx),
            }
        }
    }
}

/// Servers that do not support it do not respond to it, so a client does not have to wait for long.
const LONGEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_request_that_asks_waits_for_a_second_or_half_of_the_send_timeout() {
        let wait = |value: &'static str, send| {
            let headers = HeaderMap::from_iter([(EXPECT, HeaderValue::from_static(value))]);
            patience(&headers, Duration::from_millis(send))
        };
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(wait("100-continue", 5_000), millis(1_000));
        assert_eq!(wait("100-Continue", 500), millis(250));
        assert_eq!(wait("200-ok", 5_000), None);
        assert_eq!(patience(&HeaderMap::new(), LONGEST), None);
    }
}
