//! Server-sent events (WHATWG HTML, section 9.2).

mod parser;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use http::header::CONTENT_TYPE;
use http_body::Body as HttpBody;

use self::parser::Parser;
use super::body::failed;
use super::{Response, ResponseBody};
use crate::error::{Error, ReasonText};
use crate::hop::Kind;
use crate::timeline::Timeline;

impl Response {
    /// Reads the body as server-sent events.
    ///
    /// An event is at most as long as the body limit. The stream itself has no bound.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn f(client: sevenhops::Client) -> Result<(), sevenhops::Error> {
    /// let request = client.get("https://api.test/v1/events").header("accept", "text/event-stream");
    /// let response = request.options(|options| options.streaming(true)).send().await?.error_for_status()?;
    /// let mut events = response.events()?;
    /// while let Some(event) = events.next().await? {
    ///     println!("{}: {}", event.event_type(), event.data());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # How people get it wrong
    ///
    /// Without [`streaming`](crate::Options::streaming) the stream ends at the deadline of the call. The body
    /// idle timeout applies to each pause in any case. A server that sends nothing for longer must send comments in
    /// between, or the client needs a longer [`body_idle`](crate::TimeoutsConfig::body_idle).
    ///
    /// The client does not reconnect by itself. To continue after an error, send another request with the header
    /// `Last-Event-ID` and [`last_event_id`](EventStream::last_event_id) as its value.
    ///
    /// # Errors
    ///
    /// Fails at decode if the content type is not `text/event-stream`, or if the body has a coding that the client
    /// cannot decode.
    pub fn events(self) -> Result<EventStream, Error> {
        let response = self.decoded()?;
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("text/event-stream") {
            let reason = ReasonText::new("its content type is not text/event-stream");
            return Err(failed(Kind::Malformed, &response.timeline).because(reason));
        }
        Ok(EventStream {
            parser: Parser::new(response.max_body_bytes),
            body: response.body,
            timeline: response.timeline,
            is_over: false,
        })
    }
}

/// The server-sent events of a response.
///
/// An event that the end of the body cuts off is dropped, as the standard says.
#[must_use = "a stream does nothing until it is read"]
pub struct EventStream {
    body: ResponseBody,
    parser: Parser,
    timeline: Option<Timeline>,
    is_over: bool,
}

impl EventStream {
    /// Returns the next event; `None` at the end of the body.
    ///
    /// # Errors
    ///
    /// Fails at receive if the body breaks off, or stalls for longer than the body idle timeout. Fails if an event is
    /// longer than the body limit. After an error there are no more events.
    ///
    /// # Cancel safety
    ///
    /// Safe: the bytes received so far are kept.
    pub async fn next(&mut self) -> Result<Option<ServerSentEvent>, Error> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx))
            .await
            .transpose()
    }

    /// Returns the id of the last event, for the header `Last-Event-ID` of a request that continues the stream. Empty
    /// if the server sent none.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Returns the time to wait before a request that continues the stream, if the server set one (`retry`).
    #[must_use]
    pub fn reconnection_time(&self) -> Option<Duration> {
        self.parser.reconnection_time()
    }
}

impl Stream for EventStream {
    type Item = Result<ServerSentEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.is_over {
            match this.parser.next() {
                Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                Ok(None) => {}
                Err(_) => {
                    this.is_over = true;
                    return Poll::Ready(Some(Err(failed(Kind::TooLarge, &this.timeline))));
                }
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        this.parser.feed(&piece);
                    }
                }
                Some(Err(error)) => {
                    this.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.is_over = true,
            }
        }
        Poll::Ready(None)
    }
}

impl fmt::Debug for EventStream {
    /// Leaves the events out: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

/// One event that a server sent.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerSentEvent {
    event_type: String,
    data: String,
    last_event_id: String,
}

impl ServerSentEvent {
    /// Returns the type: the field `event`, or `message`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Returns the data, with LF between its lines.
    #[must_use]
    pub fn data(&self) -> &str {
        &self.data
    }

    /// Returns the id of this event, or of the last one before it that had one. Empty if there was none.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }
}

impl fmt::Debug for ServerSentEvent {
    /// Shows type and length: the data may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSentEvent")
            .field("event_type", &self.event_type)
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}
