//! The request body while it is sent. It reports when the request is taken, and fails if its attempt was given up.

#![cfg_attr(
    not(feature = "hyper-util"),
    expect(unreachable_pub, reason = "it is shown with that feature")
)]

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use sync_wrapper::SyncWrapper;

use super::wire::exchange::BodySource;
use super::wire::lane::{GivenUp, Lane};
use super::wire::trailers::AnnouncedTrailers;
use crate::body::measured::Measured;
use crate::box_error::BoxError;
use crate::callback::{Site, permits, require};
use crate::error::ReasonText;
use crate::hop::BodyFailed;
use crate::record::tracker::Tracker;
use crate::replay::UnsentBody;

/// A request body that returns if no connection took it, so that the next address can be tried. If no address took it,
/// it returns to the call, for the next attempt.
pub(super) struct ReturnableBody<B: Send + 'static> {
    slot: Arc<ReturnSlot<B>>,
    unsent: Option<UnsentBody<B>>,
    tracker: Arc<Tracker>,
    /// Whether the method is safe: such a request does no harm if it arrives late (RFC 9110 §9.2.1).
    safe: bool,
    /// The length that it must have: see [`announced`](super::framing::announced).
    announced: Option<u64>,
}

/// The part of a body that comes back.
struct ReturnSlot<B> {
    unused: Mutex<Option<B>>,
    /// Why its source failed: over HTTP/2 hyper does not report that.
    failed: Mutex<Option<BodyFailed>>,
}

impl<B: Send> BodySource for ReturnSlot<B> {
    fn take_failure(&self) -> Option<BodyFailed> {
        lock(&self.failed).take()
    }
}

impl<B> ReturnableBody<B>
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(
        body: B,
        head: &Parts,
        announced: Option<u64>,
        tracker: Arc<Tracker>,
    ) -> Self {
        Self {
            announced,
            slot: Arc::new(ReturnSlot {
                unused: Mutex::new(Some(body)),
                failed: Mutex::default(),
            }),
            unsent: head.extensions.get::<UnsentBody<B>>().cloned(),
            tracker,
            safe: head.method.is_safe(),
        }
    }

    /// Returns why the request failed: the error of the body's source, or that of the connection.
    pub(super) fn cause(&self, error: impl Into<BoxError>) -> BoxError {
        match self.slot.take_failure() {
            Some(failed) => Box::new(failed),
            None => error.into(),
        }
    }

    /// Returns the body, unless a connection has taken it.
    pub(super) fn lend(&self) -> Option<Lent<B>> {
        let body = lock(&self.slot.unused).take()?;
        let hint = body.size_hint();
        Some(Box::new(RequestBody {
            empty: body.is_end_stream() || hint.exact() == Some(0),
            hint,
            inner: Some(SyncWrapper::new(Held::Whole(body))),
            rest: Bytes::new(),
            sent: 0,
            done: false,
            seen: AtomicBool::new(false),
            safe: self.safe,
            announced: self.announced,
            wire: Wire::Foreign,
            home: Arc::clone(&self.slot),
            tracker: Arc::clone(&self.tracker),
        }))
    }
}

impl<B: Send + 'static> Drop for ReturnableBody<B> {
    fn drop(&mut self) {
        let unused = lock(&self.slot.unused).take();
        if let (Some(body), Some(unsent)) = (unused, &self.unsent) {
            unsent.put(body);
        }
    }
}

/// A body that is lent to a connection. It is boxed once, so a future that holds it is small.
pub(super) type Lent<B> = Box<RequestBody<B>>;

/// A body that was not polled yet, or one that is pinned.
enum Held<B> {
    Whole(B),
    Polled(Polled<B>),
}

type Polled<B> = Measured<Pin<Box<B>>>;
type Piece = Result<Frame<Bytes>, BoxError>;

/// The request body as hyper sees it. It reports when it is taken and sent, and fails once its attempt was given up.
// Over a foreign connection (`Wire::Foreign`), hyper asks whether the caller is gone, then calls `is_end_stream`, then
// encodes the head. In `is_end_stream` the request is *taken*. Over HTTP/2 the head may wait for a stream after that,
// and then goes out without another check. So an empty body of a method that is not safe does not report its end in
// advance. This crate then decides when the stream ends. A request that was given up while it waited is reset, not
// completed.
pub struct RequestBody<B> {
    inner: Option<SyncWrapper<Held<B>>>,
    hint: SizeHint,
    /// The rest of a frame that was too large to be handed over in one step.
    rest: Bytes,
    /// The bytes that were handed over. An attempt may have more than one request.
    sent: u64,
    empty: bool,
    done: bool,
    seen: AtomicBool,
    safe: bool,
    announced: Option<u64>,
    wire: Wire,
    home: Arc<ReturnSlot<B>>,
    tracker: Arc<Tracker>,
}

/// The source is pinned in its own box, at its first poll.
impl<B> Unpin for RequestBody<B> {}

/// How it is known when the request is taken and sent.
#[derive(Debug)]
enum Wire {
    /// A connection of another client: only the body's own polls are visible.
    Foreign,
    /// A connection of this crate over HTTP/1. It knows both, once the body has reported its end.
    Http1(Arc<Lane>, AnnouncedTrailers),
    /// A connection of this crate over HTTP/2. It takes the request, which is sent when the body has ended.
    Http2,
}

impl<B> Body for RequestBody<B>
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if matches!(this.wire, Wire::Foreign) && !this.tracker.take() {
            return Poll::Ready(Some(Err(Box::new(GivenUp))));
        }
        if this.rest.is_empty() && !this.done {
            match ready!(this.poll_inner(cx)) {
                Some(Ok(frame)) => {
                    if let Err(lost) = this.check_trailers(&frame) {
                        return Poll::Ready(Some(Err(this.failed(lost.into()))));
                    }
                    match frame.into_data() {
                        Ok(data) => this.rest = data,
                        Err(frame) => {
                            // Trailers end a message; hyper does not poll again.
                            this.is_whole();
                            return Poll::Ready(Some(Ok(frame)));
                        }
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(this.failed(error)))),
                None => this.done = true,
            }
        }
        if this.rest.is_empty() {
            if this.done {
                this.is_whole();
                return Poll::Ready(None);
            }
            return Poll::Ready(Some(Ok(Frame::data(Bytes::new()))));
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        this.tracker.sent(piece.len());
        this.sent += piece.len() as u64;
        if this.rest.is_empty() && this.at_end() {
            this.done = true;
            this.is_whole();
        } else if this.announced == Some(this.sent) {
            // The message is complete; hyper does not poll for more than the announced length.
            this.is_whole();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        if !matches!(self.wire, Wire::Foreign) {
            return self.empty || self.done && self.rest.is_empty();
        }
        if self.seen.swap(true, Ordering::AcqRel) {
            return self.done && self.rest.is_empty();
        }
        let taken = self.tracker.take();
        if taken && self.empty && self.safe {
            self.tracker.sent_all();
            return true;
        }
        false
    }

    fn size_hint(&self) -> SizeHint {
        if matches!(self.wire, Wire::Foreign) && self.tracker.is_given_up() {
            // Over HTTP/1, hyper would drop a body of known length zero without a poll, and send the head.
            return SizeHint::default();
        }
        self.hint
    }
}

impl<B> RequestBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Returns whether this body has to end the message itself. The body is empty, or should be, so hyper would count
    /// the message as complete with its head.
    #[cfg(feature = "hyper-util")]
    pub(super) fn has_no_length_of_its_own(&self) -> bool {
        self.hides_its_length() || self.empty && !self.safe
    }

    /// Returns its source, which may fail after the head of the response. An empty body has none.
    pub(super) fn source(&self) -> Option<Arc<dyn BodySource>>
    where
        B: Send + 'static,
    {
        (!self.empty).then(|| Arc::clone(&self.home) as Arc<dyn BodySource>)
    }

    /// Hands it to a connection of this crate, which reports when the request is taken.
    pub(super) fn over(mut self: Box<Self>, http1: Option<(&Arc<Lane>, &Parts)>) -> Pin<Box<Self>> {
        self.wire = match http1 {
            Some((lane, head)) => {
                let is_chunked = !self.empty && self.announced.is_none();
                let trailers = is_chunked.then(|| AnnouncedTrailers::of(&head.headers));
                Wire::Http1(Arc::clone(lane), trailers.unwrap_or_default())
            }
            None => Wire::Http2,
        };
        Box::into_pin(self)
    }

    /// Polls a body without data for its trailers. Over HTTP/1, hyper does not poll a body whose length is known to be
    /// zero, so the length is hidden there.
    pub(super) fn expect_trailers(&mut self, is_http1: bool) {
        let ends = match self.inner.as_mut().map(SyncWrapper::get_mut) {
            Some(Held::Whole(body)) => body.is_end_stream(),
            Some(Held::Polled(_)) | None => true,
        };
        if self.empty && !ends {
            self.empty = false;
            if is_http1 {
                self.hint = SizeHint::default();
            }
        }
    }

    /// Returns whether it is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.empty
    }

    /// Returns whether its length is announced as zero although its source may have more. hyper would not poll it.
    pub(super) fn hides_its_length(&self) -> bool {
        !self.empty && self.announced == Some(0)
    }

    /// Returns whether the last byte has come from its source.
    fn is_whole(&self) {
        match &self.wire {
            Wire::Http1(lane, _) => lane.body_ended(),
            Wire::Foreign | Wire::Http2 => self.tracker.sent_all(),
        }
    }

    /// Fails if hyper would drop the trailers. After the last byte of a known length it does not even poll for them.
    fn check_trailers(&mut self, frame: &Frame<Bytes>) -> Result<(), ReasonText> {
        let Wire::Http1(_, announced) = &self.wire else {
            return Ok(());
        };
        let kept = match self.inner.as_mut().map(SyncWrapper::get_mut) {
            Some(Held::Polled(body)) => body.trailers(),
            _ => None,
        };
        let trailers = frame.trailers_ref().or(kept);
        trailers.map_or(Ok(()), |trailers| announced.check(trailers))
    }

    /// Keeps the failure of the source for the call: the connection sees another error.
    fn failed(&self, error: BoxError) -> BoxError {
        *lock(&self.home.failed) = Some(BodyFailed(error));
        "the request body failed".into()
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if self.empty {
            return Poll::Ready(None);
        }
        let Some(body) = self.polled() else {
            return Poll::Ready(None);
        };
        // A panic would end the task of the connection.
        match require(&SOURCE, || Pin::new(body).poll_frame(cx)) {
            Ok(polled) => polled,
            Err(panicked) => Poll::Ready(Some(Err(panicked.into()))),
        }
    }

    /// Returns the body, pinned for polls. From now on it stays with this connection.
    fn polled(&mut self) -> Option<&mut Polled<B>> {
        let body = match self.inner.take()?.into_inner() {
            Held::Whole(body) => Measured::new(Box::pin(body), self.announced),
            Held::Polled(body) => body,
        };
        let held = self.inner.insert(SyncWrapper::new(Held::Polled(body)));
        match held.get_mut() {
            Held::Polled(body) => Some(body),
            Held::Whole(_) => None,
        }
    }

    fn at_end(&mut self) -> bool {
        self.inner.as_mut().is_none_or(|inner| {
            permits(&SOURCE, || match inner.get_mut() {
                Held::Whole(body) => body.is_end_stream(),
                Held::Polled(body) => body.is_end_stream(),
            })
        })
    }
}

impl<B> Drop for RequestBody<B> {
    fn drop(&mut self) {
        if !self.tracker.is_taken() {
            // It was not taken, so the next address may have it.
            if let Some(Held::Whole(body)) = self.inner.take().map(SyncWrapper::into_inner) {
                *lock(&self.home.unused) = Some(body);
            }
        } else if matches!(self.wire, Wire::Foreign) && self.empty && *self.seen.get_mut() {
            // Over HTTP/1, hyper encodes an empty body with the head, and drops it without a poll.
            self.tracker.sent_all();
        }
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    /// Shows its size only: the bytes may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("bytes", &self.hint.exact())
            .finish_non_exhaustive()
    }
}

fn lock<T>(slot: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The source of a body that is sent on the task of a connection.
static SOURCE: Site = Site::new("http_body::Body::poll_frame");
/// A large frame would otherwise count as sent in one step.
const PIECE_BYTES: usize = 256 << 10;
