//! Gets a connection for a call: an idle one, a stream of one, or a new one.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::sync::futures::Notified;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Pool;
use super::bounds::ConnectionRoom;
use crate::box_error::BoxError;
use crate::clock;
use crate::record::Tracker;
use crate::transport::dial::{Connected, Dial, SetupWatch};
use crate::transport::wire::http1::Http1;
use crate::transport::wire::http2::{StreamLease, Watcher};
use crate::transport::wire::socket::Sight;

/// A connection, or a stream of one, for one request.
#[derive(Debug)]
pub(crate) enum ConnectionLease {
    /// Closed if its request is never sent.
    Http1(Arc<Http1>, OwnedSemaphorePermit),
    Http2(StreamLease),
}

/// A call in need of a connection.
pub(crate) struct Checkout<'a> {
    pub(crate) pool: &'a Arc<Pool>,
    /// The permits of the destination's HTTP/1 connections in use.
    pub(crate) leases: &'a Arc<Semaphore>,
    pub(crate) tracker: &'a Arc<Tracker>,
    /// Records whether the call waits because of a bound.
    pub(crate) queue: &'a Queue,
    /// Begins a dial.
    pub(crate) dial: &'a (dyn Fn() -> (Dial, SetupWatch) + Sync),
    /// Closes the idle connection of any destination that was used least recently.
    pub(crate) make_room: &'a (dyn Fn() + Sync),
}

impl Checkout<'_> {
    /// Returns a connection: an idle one if possible, else a stream, else a new one.
    pub(crate) async fn lease(&self, now: Instant) -> Result<ConnectionLease, BoxError> {
        let mut permit = Arc::clone(self.leases).try_acquire_owned().ok();
        if let Some(ready) = self.ready(&mut permit, now, self.pool.in_need()).await {
            self.tracker.pooled();
            return Ok(ready);
        }
        // Boxed, so that a call that finds a connection is small.
        Box::pin(self.slowly(permit)).await
    }

    /// Does the same if nothing was ready.
    async fn slowly(
        &self,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<ConnectionLease, BoxError> {
        let pool = &**self.pool;
        let failed = pool.failed();
        let mut permit = permit;
        let _need = Need::begin(pool);
        // One position in each queue, even if the pool changes many times meanwhile.
        let mut queued = pin!(Arc::clone(self.leases).acquire_owned());
        let mut change = pin!(Change::of(pool));
        let permit = loop {
            let dialed = pool.dialed.notified();
            if let Some(ready) = self.ready(&mut permit, clock::now(), 0).await {
                self.tracker.pooled();
                return Ok(ready);
            }
            match permit.take() {
                None => {
                    // All connections are in use.
                    self.tracker.wait_for_connection();
                    let _queued = self.queue.enter();
                    let room = change.as_mut().unless(queued.as_mut()).await;
                    permit = room.transpose()?;
                }
                Some(kept) if pool.is_awaited(failed) => {
                    // Another call dials. This one opens no connection meanwhile, not even to test the next address.
                    permit = Some(kept);
                    self.tracker.wait_for_dial();
                    let _queued = self.queue.enter();
                    change.as_mut().unless(dialed).await;
                }
                Some(permit) => break permit,
            }
        };
        self.make(permit, change).await
    }

    /// Returns a stream or an idle connection, if there is one. An HTTP/1 connection needs the permit. So many calls that
    /// are `ahead` have the first look at the streams.
    async fn ready(
        &self,
        permit: &mut Option<OwnedSemaphorePermit>,
        now: Instant,
        ahead: usize,
    ) -> Option<ConnectionLease> {
        if let Some(stream) = self.pool.stream(now, ahead).await {
            return Some(ConnectionLease::Http2(stream));
        }
        if permit.is_none() {
            return None;
        }
        let connection = self.pool.idle(now).await?;
        let permit = permit.take()?;
        Some(ConnectionLease::Http1(connection, permit))
    }

    /// Makes a connection. If another one is available earlier, that one is used.
    async fn make(
        &self,
        permit: OwnedSemaphorePermit,
        mut change: Pin<&mut Change<'_>>,
    ) -> Result<ConnectionLease, BoxError> {
        let mut permit = Some(permit);
        let held = self.hold(&mut permit, change.as_mut());
        let hold = match held.await {
            Ok(hold) => hold,
            Err(ready) => return Ok(ready),
        };
        let (dial, watch) = (self.dial)();
        let pool = Arc::downgrade(self.pool);
        let mut dialing = Dialing::new(self.pool, Box::pin(dial.run(pool, hold)));
        loop {
            if let Some(ready) = self.ready(&mut permit, clock::now(), 0).await {
                watch.leave();
                self.tracker.pooled();
                dialing.leave(self.leases);
                return Ok(ready);
            }
            let made = change.as_mut().unless(poll_fn(|cx| dialing.poll(cx))).await;
            match (made, permit.take()) {
                (None, kept) => permit = kept,
                (Some(Err(error)), _) => return Err(error),
                (Some(Ok(Connected::Http1(connection))), Some(permit)) => {
                    self.pool.speaks_http1();
                    if connection.life.socket.look() == Sight::Over {
                        connection.close();
                        return Err(io::Error::from(io::ErrorKind::NotConnected).into());
                    }
                    return Ok(ConnectionLease::Http1(connection, permit));
                }
                (Some(Ok(connected)), None) => {
                    // Not reached: the permit is taken only with an idle connection, and there was none.
                    self.pool.keep(&connected);
                    return Err(io::Error::from(io::ErrorKind::NotConnected).into());
                }
                (Some(Ok(Connected::Http2(connection))), Some(_)) => {
                    let lease = self.pool.adopt(&connection);
                    self.pool.changed();
                    let lease = lease.ok_or("the server allows no streams")?;
                    return Ok(ConnectionLease::Http2(lease));
                }
            }
        }
    }

    /// Waits for a permit for another connection. `Err` if the call does not need one any more.
    async fn hold(
        &self,
        permit: &mut Option<OwnedSemaphorePermit>,
        mut change: Pin<&mut Change<'_>>,
    ) -> Result<ConnectionRoom, ConnectionLease> {
        let pool = &**self.pool;
        if let Some(hold) = pool.bounds.try_hold(&pool.open) {
            return Ok(hold);
        }
        self.tracker.wait_for_connection();
        let _queued = self.queue.enter();
        let _waiting = pool.bounds.wait(&pool.waiting);
        let mut holding = pin!(pool.bounds.hold(&pool.open));
        loop {
            if let Some(ready) = self.ready(permit, clock::now(), 0).await {
                self.tracker.pooled();
                return Err(ready);
            }
            (self.make_room)();
            if let Some(Some(hold)) = change.as_mut().unless(holding.as_mut()).await {
                return Ok(hold);
            }
        }
    }
}

/// A call that needs a connection and did not find one at once.
struct Need<'a>(&'a Pool);

impl<'a> Need<'a> {
    fn begin(pool: &'a Pool) -> Self {
        pool.in_need.fetch_add(1, Ordering::SeqCst);
        Self(pool)
    }
}

impl Drop for Need<'_> {
    fn drop(&mut self) {
        self.0.in_need.fetch_sub(1, Ordering::SeqCst);
        // It may have been woken for a stream that it did not take.
        self.0.pass_on();
    }
}

pin_project! {
    /// A call's position in the queue of those that wait for a change of the pool. The first one is woken first. It
    /// stays in the queue from one wait to the next, and goes to the end of it once it was woken.
    struct Change<'a> {
        pool: &'a Pool,
        #[pin]
        next: Notified<'a>,
    }
}

impl<'a> Change<'a> {
    fn of(pool: &'a Pool) -> Self {
        let next = pool.change.notified();
        Self { pool, next }
    }

    /// Awaits a future. `None` if something changes first.
    async fn unless<T>(mut self: Pin<&mut Self>, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(done) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            let mut this = self.as_mut().project();
            ready!(this.next.as_mut().poll(cx));
            this.next.set(this.pool.change.notified());
            this.next.enable();
            Poll::Ready(None)
        })
        .await
    }
}

/// Whether a call waits because of a bound of this crate ([`Wait`]): such a wait does not count against the address.
#[derive(Debug, Default)]
pub(crate) struct Queue(AtomicU8);

/// A wait for a permit, or for a connection that is in use.
struct Queued<'a>(&'a AtomicU8);

impl Queue {
    fn enter(&self) -> Queued<'_> {
        self.0.store(Wait::Now as u8, Ordering::Release);
        Queued(&self.0)
    }

    /// Returns whether the call has waited since the last call of this method.
    pub(crate) fn has_waited(&self) -> bool {
        let over = |wait| (wait == Wait::Over as u8).then_some(Wait::None as u8);
        let before = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, over);
        before.unwrap_or_else(|wait| wait) != Wait::None as u8
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.store(Wait::Over as u8, Ordering::Release);
    }
}

/// The states of a [`Queue`].
#[repr(u8)]
enum Wait {
    None,
    Now,
    /// Not read yet by `has_waited`.
    Over,
}

type Making = Pin<Box<dyn Future<Output = Result<Connected, BoxError>> + Send>>;

/// A dial that is counted while it lasts.
struct Dialing<'a> {
    pool: &'a Arc<Pool>,
    making: Option<Making>,
    is_failed: bool,
}

impl<'a> Dialing<'a> {
    fn new(pool: &'a Arc<Pool>, making: Making) -> Self {
        pool.inside().dialing += 1;
        Self {
            pool,
            making: Some(making),
            is_failed: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connected, BoxError>> {
        let Some(making) = &mut self.making else {
            return Poll::Pending;
        };
        let made = making.as_mut().poll(cx);
        self.is_failed = matches!(made, Poll::Ready(Err(_)));
        made
    }

    /// Leaves the dial, because the call has another connection. The dial continues for the pool, unless many do.
    fn leave(mut self, leases: &Arc<Semaphore>) {
        let Some(making) = self.making.take() else {
            return;
        };
        let permit = Arc::clone(leases).try_acquire_owned();
        let mut inside = self.pool.inside();
        if let (Ok(permit), true) = (permit, inside.left < MOST_LEFT) {
            inside.left += 1;
            drop(inside);
            tokio::spawn(finish(AbandonedDial(Arc::clone(self.pool)), making, permit));
        }
    }
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        let mut inside = self.pool.inside();
        inside.dialing -= 1;
        inside.failed += u64::from(self.is_failed);
        drop(inside);
        // Wakes the calls that wait for this dial: all of them, if it has failed.
        match self.is_failed {
            true => self.pool.change.notify_waiters(),
            false => self.pool.change.notify_one(),
        }
        self.pool.dialed.notify_waiters();
    }
}

/// A dial without a call.
struct AbandonedDial(Arc<Pool>);

impl Drop for AbandonedDial {
    fn drop(&mut self) {
        self.0.inside().left -= 1;
    }
}

async fn finish(left: AbandonedDial, making: Making, permit: OwnedSemaphorePermit) {
    if let Ok(connected) = making.await {
        // First, so that the connection can be used.
        drop(permit);
        left.0.keep(&connected);
    }
}

/// The maximum number of dials to one address that continue without a call.
const MOST_LEFT: usize = 8;
