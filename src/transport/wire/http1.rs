//! A connection that speaks HTTP/1: one request at a time.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::exchange::{Attachment, ExchangeError, SendBody};
use super::head::{keep_alive, misframed};
use super::lane::{Gate, Lane};
use super::life::{ConnectionEnd, Life, Made, Task};
use super::socket::Sight;
use super::stream::Stream;
use crate::box_error::BoxError;
use crate::clock;
use crate::record::Tracker;

/// The part of a connection that its task drives.
type Driven = Connection<TokioIo<Gate<Stream>>, SendBody>;

/// A connection.
#[derive(Debug)]
pub(crate) struct Http1 {
    pub(crate) life: Life,
    pub(crate) lane: Arc<Lane>,
    /// `None` once it is closed.
    sender: Mutex<Sender>,
    /// Whether it is closed after this response.
    is_spent: AtomicBool,
    /// Whether the head of the response was read ([`Head`]).
    head: AtomicU8,
    task: OnceLock<AbortHandle>,
    home: Weak<dyn Home>,
}

#[derive(Debug)]
struct Sender {
    requests: Option<SendRequest<SendBody>>,
    use_: Use,
}

/// The pool that keeps connections between two requests. Their tasks report to it.
pub(crate) trait Home: Send + Sync + 'static {
    /// Takes an idle connection. Returns false if the pool does not keep it.
    fn rest(&self, connection: &Arc<Http1>) -> bool;

    /// Removes a connection that has ended, or has been idle for too long. Returns false if it is in use.
    fn expire(&self, connection: &Arc<Http1>) -> bool;
}

/// The result of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leased {
    Yes,
    /// Its task has bytes to read first.
    Later,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Idle,
    /// A call has it, and has not sent its request.
    Leased,
    /// A request was handed to hyper. The connection is idle again once hyper wants the next one.
    Sent,
}

/// Whether the call has read the head of its response. Until then it is not known whether the connection can be used
/// again, even if the whole response has come.
#[repr(u8)]
enum Head {
    Unread,
    /// The whole response has come first, so the call returns the connection to the pool.
    Awaited,
    Read,
}

impl Http1 {
    /// Opens an HTTP/1 connection over a stream. The connection belongs to the caller until its first response is over.
    pub(crate) async fn open(
        stream: Stream,
        made: Made,
        builder: &Builder,
        attachment: Attachment<dyn Home, impl Send + 'static>,
    ) -> Result<Arc<Self>, BoxError> {
        let lane = Arc::new(Lane::new(made.socket.clone()));
        let gate = TokioIo::new(Gate::new(stream, Arc::clone(&lane)));
        let (requests, driven) = builder.handshake(gate).await?;
        let sender = Sender {
            requests: Some(requests),
            use_: Use::Leased,
        };
        let connection = Arc::new(Self {
            life: Life::new(made, attachment.hold),
            lane,
            sender: Mutex::new(sender),
            is_spent: AtomicBool::new(false),
            head: AtomicU8::new(Head::Unread as u8),
            task: OnceLock::new(),
            home: attachment.home,
        });
        let task = tokio::spawn(drive(driven, Arc::clone(&connection)));
        let _ = connection.task.set(task.abort_handle());
        Ok(connection)
    }

    /// Leases it to a call, if it can carry another request. If it cannot, it is closed.
    ///
    /// Unread bytes are not a response: they may be a FIN or a late 408. In TLS they may be a ticket, which the
    /// connection's task reads. With `patience`, such a connection is not closed yet.
    pub(crate) fn lease(&self, now: Instant, patience: bool) -> Leased {
        let is_fit = {
            let mut sender = self.sender();
            let ready = sender.requests.as_ref().is_some_and(SendRequest::is_ready);
            let is_fit = ready && now < self.life.idle_until();
            if is_fit {
                sender.use_ = Use::Leased;
            }
            is_fit
        };
        let leased = match (is_fit, self.life.socket.look()) {
            (true, Sight::Quiet) => return Leased::Yes,
            (true, Sight::Unread) if patience && self.life.is_secure() => Leased::Later,
            _ => Leased::No,
        };
        match leased {
            Leased::Later => self.sender().use_ = Use::Idle,
            Leased::Yes | Leased::No => self.close(),
        }
        leased
    }

    /// Gives back a leased connection that was not used. Returns true if it may be kept.
    pub(crate) fn release(&self) -> bool {
        let mut sender = self.sender();
        let was_leased = sender.use_ == Use::Leased && sender.requests.is_some();
        if was_leased {
            sender.use_ = Use::Idle;
            self.life.rest(clock::now());
        }
        was_leased
    }

    /// Lets it end: hyper closes it once no request is in flight.
    pub(crate) fn close(&self) {
        let requests = self.sender().requests.take();
        drop(requests);
    }

    /// Closes it at once, for another connection. It is idle, and has left its pool.
    pub(crate) fn evict(&self) {
        self.life.evict();
        self.close();
    }

    /// Ends the connection if this request is still being sent: its response is over, so the rest is not needed.
    pub(super) fn stop_upload(&self, number: u64) {
        if self.lane.abandon(number) {
            self.life.end(ConnectionEnd::Over);
            self.close();
            self.task.get().inspect(|task| task.abort());
        }
    }

    /// Sends a request. The future waits for the head of the response, which it returns with the number of the request.
    pub(crate) fn exchange<'a>(
        self: &'a Arc<Self>,
        request: Request<SendBody>,
        is_whole: bool,
        tracker: &'a Arc<Tracker>,
    ) -> Result<impl Future<Output = Answered> + use<'a>, ExchangeError>
    where
        Self: 'a,
    {
        let number = self.lane.arm(tracker, is_whole);
        let sending = {
            let mut sender = self.sender();
            sender.use_ = Use::Sent;
            self.head.store(Head::Unread as u8, Ordering::Release);
            let requests = sender.requests.as_mut();
            requests.map(|requests| requests.try_send_request(request))
        };
        let sending = sending.ok_or_else(|| ExchangeError {
            error: io::Error::from(io::ErrorKind::NotConnected).into(),
            is_unsent: true,
        })?;
        Ok(Exchange {
            sending,
            leaving: Leaving(Some((self, number))),
            connection: self,
            number,
            tracker,
        })
    }

    /// Returns the failure of a request that has no response.
    fn failed(&self, error: hyper::Error, tracker: &Tracker) -> ExchangeError {
        let is_unsent = !self.lane.shut();
        if is_unsent {
            tracker.untake();
        }
        ExchangeError {
            error: self.cause(error.into()),
            is_unsent,
        }
    }

    /// Returns why a request or a response failed.
    pub(super) fn cause(&self, error: BoxError) -> BoxError {
        self.life.cause(self.lane.cause(error))
    }

    /// Reads the fields of the head about the connection.
    fn read_head(
        &self,
        response: Response<hyper::body::Incoming>,
    ) -> Result<Response<hyper::body::Incoming>, ExchangeError> {
        if let Some(timeout) = keep_alive(response.headers())
            && !self.life.keep_alive(timeout)
        {
            self.is_spent.store(true, Ordering::Release);
        }
        match misframed(response.headers()) {
            None => Ok(response),
            Some(why) => {
                // If a party on the path frames it differently, its rest would be read as the next response.
                self.is_spent.store(true, Ordering::Release);
                self.close();
                Err(ExchangeError {
                    error: io::Error::new(io::ErrorKind::InvalidData, why).into(),
                    is_unsent: false,
                })
            }
        }
    }

    /// Records that nothing more of the head decides whether the connection can be used again.
    fn head_read(self: &Arc<Self>) {
        let before = self.head.swap(Head::Read as u8, Ordering::AcqRel);
        if before == Head::Awaited as u8 {
            self.settle();
        }
    }

    /// Returns whether the head was read. If not, the call returns the connection to the pool.
    fn is_head_read(&self) -> bool {
        let (unread, awaited) = (Head::Unread as u8, Head::Awaited as u8);
        let before =
            (self.head).compare_exchange(unread, awaited, Ordering::AcqRel, Ordering::Acquire);
        before == Err(Head::Read as u8)
    }

    /// Returns the connection to its pool if its response is over and the head was read.
    fn settle(self: &Arc<Self>) {
        {
            let mut sender = self.sender();
            let is_ready = sender.requests.as_ref().is_some_and(SendRequest::is_ready);
            if sender.use_ != Use::Sent || !is_ready || !self.is_head_read() {
                return;
            }
            sender.use_ = Use::Idle;
            if self.is_spent.load(Ordering::Acquire) {
                sender.requests = None;
                return;
            }
        }
        let now = clock::now();
        self.life.rest(now);
        if self.life.is_old(now) || !self.home.upgrade().is_some_and(|home| home.rest(self)) {
            self.close();
        }
    }

    fn sender(&self) -> std::sync::MutexGuard<'_, Sender> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project! {
    /// A request in flight.
    struct Exchange<'a, F> {
        #[pin]
        sending: F,
        // If this is dropped before the response, nothing more of the request is sent.
        leaving: Leaving<'a>,
        connection: &'a Arc<Http1>,
        number: u64,
        tracker: &'a Tracker,
    }
}

/// The head of a response, and the number of its request.
type Answered = Result<(Response<hyper::body::Incoming>, u64), ExchangeError>;
type Sent = Result<Response<hyper::body::Incoming>, TrySendError<Request<SendBody>>>;

impl<F: Future<Output = Sent>> Future for Exchange<'_, F> {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let this = self.project();
        Poll::Ready(match ready!(this.sending.poll(cx)) {
            Ok(response) => {
                this.leaving.0 = None;
                let response = this.connection.read_head(response);
                this.connection.head_read();
                response.map(|response| (response, *this.number))
            }
            Err(failed) => Err(this.connection.failed(failed.into_error(), this.tracker)),
        })
    }
}

/// Shuts the lane of a request whose call is dropped before the response. If the response has come, the connection is
/// closed, because its head was not read.
struct Leaving<'a>(Option<(&'a Arc<Http1>, u64)>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some((connection, number)) = self.0 {
            connection.lane.abandon(number);
            connection.is_spent.store(true, Ordering::Release);
            connection.head_read();
        }
    }
}

/// Drives a connection to its end.
async fn drive(driven: Driven, connection: Arc<Http1>) {
    let mut driven = driven;
    // Dropped first, if this is dropped: the connection is then marked as ended before hyper reports it.
    let task = Task {
        life: &connection.life,
        leave_pool: || {
            if let Some(home) = connection.home.upgrade() {
                home.expire(&connection);
            }
        },
    };
    let mut alarm = pin!(sleep_until(connection.life.idle_until()));
    std::future::poll_fn(|cx| {
        if Pin::new(&mut driven).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        connection.settle();
        while alarm.as_mut().poll(cx).is_ready() {
            let now = clock::now();
            let until = connection.life.idle_until();
            let home = || connection.home.upgrade();
            let is_over = now >= until && home().is_none_or(|home| home.expire(&connection));
            if is_over {
                connection.close();
            }
            // A connection in use is checked again later, and one that was used meanwhile is checked at its new time.
            let again = connection.life.idle_timeout();
            let next = match now < until {
                true => until,
                false => now + again.clamp(ASK_AGAIN_FIRST, ASK_AGAIN),
            };
            alarm.as_mut().reset(next);
        }
        Poll::Pending
    })
    .await;
    task.ended(ConnectionEnd::Over);
}

/// The interval at which a connection in use is checked.
const ASK_AGAIN: Duration = Duration::from_secs(10);
const ASK_AGAIN_FIRST: Duration = Duration::from_secs(1);
