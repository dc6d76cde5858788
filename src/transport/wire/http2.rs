//! A connection that speaks HTTP/2: many requests at a time, each on a stream of its own.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, Connection, SendRequest};
use http::{Request, Response};
use tokio::time::{Instant, sleep_until};

use super::exchange::{Attachment, ExchangeError, SendBody};
use super::in_flight::InFlight;
use super::lane::GivenUp;
use super::life::{ConnectionEnd, Life, Made, Task};
use super::socket::Sight;
use super::stream::Stream;
use super::upload::{Rest, Upload};
use super::watch::{Monitor, PingTimes};
use crate::clock;
use crate::hop::HeadRefused;
use crate::record::Tracker;

/// A connection.
pub(crate) struct Http2 {
    pub(crate) life: Life,
    /// `None` once new requests use other connections.
    requests: Mutex<Option<SendRequest<Bytes>>>,
    /// The number of streams that are leased, or that were leased and are not reset yet.
    pub(super) leased: AtomicUsize,
    /// The number of streams that wait until the connection's task resets them.
    cancelled: AtomicUsize,
    task: Mutex<Option<Waker>>,
    /// Whether a frame of a response has come since the last PING.
    pub(super) has_responded: AtomicBool,
    /// Whether an option bounds the heads of responses.
    bounds_heads: bool,
    pub(super) home: Weak<dyn Watcher>,
}

/// A stream of a connection, for one request.
pub(crate) struct StreamLease {
    pub(crate) connection: Arc<Http2>,
    requests: SendRequest<Bytes>,
    /// Whether both sides have ended the stream.
    pub(crate) is_over: bool,
}

impl fmt::Debug for StreamLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamLease")
            .field(&self.connection)
            .finish()
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        if self.is_over {
            self.connection.give_back(1);
        } else {
            // Until its reset is written, the stream counts: a request in its place would wait inside h2.
            self.connection.cancelled.fetch_add(1, Ordering::AcqRel);
            self.connection.wake();
        }
    }
}

impl StreamLease {
    /// Sends a request. The future waits for the head of the response. The upload may still continue after that.
    pub(crate) fn exchange<'a>(
        &'a mut self,
        request: Request<SendBody>,
        (is_empty, wait): (bool, Option<Duration>),
        tracker: &'a Tracker,
    ) -> Result<impl Future<Output = Answered> + use<'a>, ExchangeError> {
        let before = self.connection.life.socket.written();
        if !tracker.take() {
            return Err(unsent(GivenUp));
        }
        let (head, body) = request.into_parts();
        let head = Request::from_parts(head, ());
        let (response, stream) = match self.requests.send_request(head, is_empty) {
            Ok(opened) => opened,
            Err(error) => {
                tracker.untake();
                return Err(unsent(error));
            }
        };
        let (upload, unused) = if is_empty {
            tracker.sent_all();
            (None, Some(body))
        } else {
            (Some(Upload::new(stream, body)), None)
        };
        let mut sending = InFlight::new(response, upload, wait);
        Ok(async move {
            match poll_fn(|cx| sending.poll(cx)).await {
                Ok(response) => {
                    self.connection.responded();
                    Ok((response, sending.rest(tracker)))
                }
                Err(error) => {
                    let failed = self.failed(error, before, tracker);
                    // Only now: the body of an unsent request returns to the call.
                    drop(unused);
                    Err(failed)
                }
            }
        })
    }

    fn failed(&self, error: h2::Error, before: u64, tracker: &Tracker) -> ExchangeError {
        // The connection broke, its task is over, and the kernel took no byte since.
        let life = &self.connection.life;
        let is_unsent = error.is_io() && life.is_over() && life.socket.written() == before;
        if is_unsent {
            tracker.untake();
        }
        // h2 has one error for a head that is too long and for one that is malformed.
        let is_own = error.is_reset() && error.is_library();
        let is_refused = is_own && error.reason() == Some(h2::Reason::PROTOCOL_ERROR);
        ExchangeError {
            error: life.cause(match is_refused && self.connection.bounds_heads {
                true => HeadRefused(error).into(),
                false => error.into(),
            }),
            is_unsent,
        }
    }
}

/// The head of a response, and the rest of the request's body.
type Answered = Result<(Response<RecvStream>, Rest), ExchangeError>;

/// The pool that keeps connections. Their tasks report to it.
pub(crate) trait Watcher: Send + Sync + 'static {
    /// Records that the number of free streams of a connection has changed.
    fn changed(&self);

    /// Removes a connection that has ended.
    fn ended(&self, connection: &Arc<Http2>);
}

impl Http2 {
    /// Opens an HTTP/2 connection over a stream.
    pub(crate) async fn open(
        stream: Stream,
        made: Made,
        (builder, bounds_heads, pings): (&Builder, bool, PingTimes),
        attachment: Attachment<dyn Watcher, impl Send + 'static>,
    ) -> Result<Arc<Self>, h2::Error> {
        let (requests, driven) = builder.handshake(stream).await?;
        let connection = Arc::new(Self {
            life: Life::new(made, attachment.hold),
            requests: Mutex::new(Some(requests)),
            leased: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            task: Mutex::default(),
            has_responded: AtomicBool::new(false),
            bounds_heads,
            home: Weak::clone(&attachment.home),
        });
        tokio::spawn(drive(driven, Arc::clone(&connection), pings));
        Ok(connection)
    }

    /// Checks a connection before it is used again. An idle one is closed if its time is over, or if its socket has
    /// ended: its task may not have run since then. `Unread` bytes are for its task, which may read there that the
    /// server closes it.
    pub(crate) fn look(&self, now: Instant) -> Sight {
        if !self.is_idle() {
            return Sight::Quiet;
        }
        let sight = match now < self.life.idle_until() {
            true => self.life.socket.look(),
            false => Sight::Over,
        };
        if sight == Sight::Over {
            self.close();
        }
        sight
    }

    /// Leases a stream to a call, if one is free. So no request waits inside h2, which would send it even after its
    /// call was given up.
    pub(crate) fn lease(self: &Arc<Self>, now: Instant) -> Option<StreamLease> {
        let mut guard = self.requests();
        let requests = guard.as_mut()?;
        let mut context = Context::from_waker(Waker::noop());
        let is_over = matches!(requests.poll_ready(&mut context), Poll::Ready(Err(_)));
        if is_over || self.life.is_old(now) {
            let over = guard.take();
            drop(guard);
            drop(over);
            return None;
        }
        let most = announced_streams(requests).unwrap_or(BEFORE_SETTINGS);
        if self.leased.load(Ordering::SeqCst) >= most {
            return None;
        }
        if self.leased.fetch_add(1, Ordering::SeqCst) == 0 {
            // The task reads there when its watch begins.
            self.life.rest(now);
        }
        Some(StreamLease {
            connection: Arc::clone(self),
            requests: requests.clone(),
            is_over: false,
        })
    }

    /// Returns whether it is known that the server allows no more streams.
    pub(crate) fn is_full(&self) -> bool {
        let guard = self.requests();
        guard.as_ref().is_none_or(|requests| {
            announced_streams(requests)
                .is_some_and(|most| self.leased.load(Ordering::SeqCst) >= most)
        })
    }

    /// Returns how many streams are free.
    pub(crate) fn free_streams(&self) -> usize {
        self.requests().as_ref().map_or(0, |requests| {
            let most = announced_streams(requests).unwrap_or(BEFORE_SETTINGS);
            most.saturating_sub(self.leased.load(Ordering::SeqCst))
        })
    }

    /// Returns whether the server has not yet announced how many streams it allows.
    pub(crate) fn is_new(&self) -> bool {
        let guard = self.requests();
        guard
            .as_ref()
            .is_some_and(|requests| announced_streams(requests).is_none())
    }

    /// Returns whether new requests use other connections.
    pub(crate) fn is_closed(&self) -> bool {
        self.requests().is_none()
    }

    /// Returns whether no stream of it is leased.
    pub(crate) fn is_idle(&self) -> bool {
        self.leased.load(Ordering::SeqCst) == 0
    }

    /// Lets it end once the requests in flight have their responses.
    pub(crate) fn close(&self) {
        let requests = self.requests().take();
        drop(requests);
    }

    /// Closes it at once, for another connection. It is idle, and has left its pool.
    pub(crate) fn evict(&self) {
        self.life.evict();
        self.close();
    }

    /// Records that streams have ended.
    fn give_back(&self, streams: usize) {
        // First: once the count is zero, a call reads since when the connection is idle.
        self.life.rest(clock::now());
        self.leased.fetch_sub(streams, Ordering::SeqCst);
        if let Some(home) = self.home.upgrade() {
            home.changed();
        }
    }

    /// Records that a frame of a response has come.
    pub(super) fn responded(&self) {
        self.has_responded.store(true, Ordering::Relaxed);
    }

    fn wake(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }

    /// Records the task that polls, to wake it later.
    fn is_polled(&self, cx: &Context<'_>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *task {
            Some(task) => task.clone_from(cx.waker()),
            None => *task = Some(cx.waker().clone()),
        }
    }

    fn requests(&self) -> MutexGuard<'_, Option<SendRequest<Bytes>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2")
            .field("life", &self.life)
            .field("leased", &self.leased)
            .finish_non_exhaustive()
    }
}

/// Drives a connection to its end.
async fn drive(driven: Connection<Stream, Bytes>, connection: Arc<Http2>, pings: PingTimes) {
    let mut driven = driven;
    let mut watch = Monitor::new(pings, driven.ping_pong());
    // Dropped first, if this is dropped: the connection is then marked as ended before h2 reports it.
    let task = Task {
        life: &connection.life,
        leave_pool: || {
            connection.close();
            if let Some(home) = connection.home.upgrade() {
                home.ended(&connection);
            }
        },
    };
    let mut alarm = pin!(sleep_until(connection.life.idle_until()));
    let fate = poll_fn(|cx| {
        connection.is_polled(cx);
        let cancelled = connection.cancelled.swap(0, Ordering::AcqRel);
        if Pin::new(&mut driven).poll(cx).is_ready() {
            return Poll::Ready(ConnectionEnd::Over);
        }
        if cancelled > 0 {
            connection.give_back(cancelled);
        }
        watch.note(&connection, &driven, alarm.as_mut());
        while alarm.as_mut().poll(cx).is_ready() {
            match watch.ask(&connection) {
                Some(next) => alarm.as_mut().reset(next),
                None => return Poll::Ready(ConnectionEnd::Dark),
            }
        }
        watch.drain(cx);
        Poll::Pending
    })
    .await;
    task.ended(fate);
    // Now its streams see the end, and the pool is notified that no stream is free.
    connection.close();
    drop(driven);
    drop(task);
    if let Some(home) = connection.home.upgrade() {
        home.changed();
    }
}

fn unsent(error: impl Into<crate::box_error::BoxError>) -> ExchangeError {
    ExchangeError {
        error: error.into(),
        is_unsent: true,
    }
}

/// Returns how many streams the server allows, once its SETTINGS were read.
fn announced_streams(requests: &SendRequest<Bytes>) -> Option<usize> {
    let most = requests.current_max_send_streams();
    (most != UNTOLD).then_some(most)
}

/// A new connection counts as one stream until its SETTINGS were read.
const BEFORE_SETTINGS: usize = 1;
/// The limit that h2 assumes until the server announces one. It is larger than any that a server can announce, so it
/// can be recognized.
pub(crate) const UNTOLD: usize = usize::MAX - 1;
