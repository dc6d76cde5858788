//! How a call comes to a connection: an idle one, a stream of one, or a new one.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::futures::Notified;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::Pool;
use super::bounds::Hold;
use crate::box_error::BoxError;
use crate::clock;
use crate::record::Tracker;
use crate::transport::dial::{Connected, Dial, Watch};
use crate::transport::wire::http1::Http1;
use crate::transport::wire::http2::StreamLease;
use crate::transport::wire::http2::Watcher;
use crate::transport::wire::socket::Sight;

/// A connection, or a stream of one, for one request.
#[derive(Debug)]
pub(crate) enum Lease {
    Http1(Arc<Http1>, OwnedSemaphorePermit),
    Http2(StreamLease),
}

/// A call in need of a connection.
pub(crate) struct Checkout<'a> {
    pub(crate) pool: &'a Arc<Pool>,
    /// How many HTTP/1 connections of the destination may be in use.
    pub(crate) leases: &'a Arc<Semaphore>,
    pub(crate) tracker: &'a Arc<Tracker>,
    /// Begins a dial.
    pub(crate) dial: &'a (dyn Fn() -> (Dial, Watch) + Sync),
    /// Closes the idle connection of any destination that was used least recently.
    pub(crate) make_room: &'a (dyn Fn() + Sync),
}

impl Checkout<'_> {
    /// Gets a connection. An idle one is taken first, then a stream, then a new one is made.
    pub(crate) async fn lease(&self) -> Result<Lease, BoxError> {
        let pool = &**self.pool;
        let failed = pool.failed();
        let mut permit = None;
        loop {
            let mut change = pin!(pool.change.notified());
            change.as_mut().enable();
            if let Some(ready) = self.ready(&mut permit).await {
                self.tracker.pooled();
                return Ok(ready);
            }
            if permit.is_none() {
                // All connections are in use.
                self.tracker.wait_for_connection();
                permit = self.permit(change).await;
            } else if pool.is_awaited(failed) {
                self.tracker.wait_for_connection();
                change.await;
            } else if let Some(permit) = permit.take() {
                // Boxed, so that a call that finds a connection is small.
                return Box::pin(self.make(permit)).await;
            }
        }
    }

    /// What is there already.
    async fn ready(&self, permit: &mut Option<OwnedSemaphorePermit>) -> Option<Lease> {
        let now = clock::now();
        if let Some(stream) = self.pool.stream(now) {
            return Some(Lease::Http2(stream));
        }
        if permit.is_none() {
            *permit = match Arc::clone(self.leases).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return None,
            };
        }
        let connection = self.pool.idle(now).await?;
        match permit.take() {
            Some(permit) => Some(Lease::Http1(connection, permit)),
            None => {
                self.pool.keep(&Connected::Http1(connection));
                None
            }
        }
    }

    /// Waits until a connection may be used, or something has changed.
    async fn permit(&self, mut change: Pin<&mut Notified<'_>>) -> Option<OwnedSemaphorePermit> {
        let mut waiting = pin!(Arc::clone(self.leases).acquire_owned());
        poll_fn(|cx| {
            if let Poll::Ready(permit) = waiting.as_mut().poll(cx) {
                return Poll::Ready(permit.ok());
            }
            change.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Makes a connection. If another one is there before, that one is used.
    async fn make(&self, permit: OwnedSemaphorePermit) -> Result<Lease, BoxError> {
        let mut permit = Some(permit);
        let hold = match self.hold(&mut permit).await {
            Ok(hold) => hold,
            Err(ready) => return Ok(ready),
        };
        let (dial, watch) = (self.dial)();
        let pool = Arc::downgrade(self.pool);
        let mut dialing = Dialing::new(self.pool, Box::pin(dial.run(pool, hold)));
        loop {
            let change = pin!(self.pool.change.notified());
            if let Some(ready) = self.ready(&mut permit).await {
                watch.leave();
                self.tracker.pooled();
                dialing.leave(self.leases);
                return Ok(ready);
            }
            let made = dialing.unless(change).await;
            match made {
                None => {}
                Some(Err(error)) => return Err(error),
                Some(Ok(Connected::Http1(connection))) => {
                    self.pool.inside().speaks_http2 = false;
                    if connection.life.socket.look() == Sight::Over {
                        return Err(io::Error::from(io::ErrorKind::NotConnected).into());
                    }
                    let permit = match permit.take() {
                        Some(permit) => permit,
                        None => self.any_permit().await?,
                    };
                    return Ok(Lease::Http1(connection, permit));
                }
                Some(Ok(Connected::Http2(connection))) => {
                    let lease = self.pool.adopt(&connection);
                    self.pool.changed();
                    let lease = lease.ok_or(NoStream)?;
                    return Ok(Lease::Http2(lease));
                }
            }
        }
    }

    async fn any_permit(&self) -> Result<OwnedSemaphorePermit, BoxError> {
        Ok(Arc::clone(self.leases).acquire_owned().await?)
    }

    /// Waits for room for another connection. `Err`: meanwhile there was no need for one.
    async fn hold(&self, permit: &mut Option<OwnedSemaphorePermit>) -> Result<Hold, Lease> {
        let pool = &**self.pool;
        if let Some(hold) = pool.bounds.try_hold(&pool.open) {
            return Ok(hold);
        }
        self.tracker.wait_for_connection();
        let mut waiting = pin!(pool.bounds.hold(&pool.open));
        loop {
            let mut change = pin!(pool.change.notified());
            (self.make_room)();
            if let Some(ready) = self.ready(permit).await {
                self.tracker.pooled();
                return Err(ready);
            }
            let held = poll_fn(|cx| {
                if let Poll::Ready(held) = waiting.as_mut().poll(cx) {
                    return Poll::Ready(held);
                }
                change.as_mut().poll(cx).map(|()| None)
            });
            if let Some(hold) = held.await {
                return Ok(hold);
            }
        }
    }
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

    /// The connection, unless something changes first.
    async fn unless(
        &mut self,
        mut change: Pin<&mut Notified<'_>>,
    ) -> Option<Result<Connected, BoxError>> {
        poll_fn(|cx| {
            if let Poll::Ready(made) = self.poll(cx) {
                return Poll::Ready(Some(made));
            }
            change.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connected, BoxError>> {
        let Some(making) = &mut self.making else {
            return Poll::Pending;
        };
        let made = making.as_mut().poll(cx);
        self.is_failed = matches!(made, Poll::Ready(Err(_)));
        made
    }

    /// The call has another connection: the pool gets this one, unless it gets many.
    fn leave(mut self, leases: &Arc<Semaphore>) {
        let Some(making) = self.making.take() else {
            return;
        };
        let permit = Arc::clone(leases).try_acquire_owned();
        let mut inside = self.pool.inside();
        if let (Ok(permit), true) = (permit, inside.left < MOST_LEFT) {
            inside.left += 1;
            drop(inside);
            tokio::spawn(finish(Left(Arc::clone(self.pool)), making, permit));
        }
    }
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        let mut inside = self.pool.inside();
        inside.dialing -= 1;
        inside.failed += u64::from(self.is_failed);
        drop(inside);
        // Whoever waits for this dial looks again: all of them, if it has failed.
        match self.is_failed {
            true => self.pool.change.notify_waiters(),
            false => self.pool.change.notify_one(),
        }
    }
}

/// A dial without a call.
struct Left(Arc<Pool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.inside().left -= 1;
    }
}

async fn finish(left: Left, making: Making, permit: OwnedSemaphorePermit) {
    if let Ok(connected) = making.await {
        // First, so that it can be used.
        drop(permit);
        left.0.keep(&connected);
    }
}

/// A new HTTP/2 connection had no stream.
#[derive(Debug)]
struct NoStream;

impl std::fmt::Display for NoStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the server allows no streams")
    }
}

impl std::error::Error for NoStream {}

/// How many dials of one address go on without a call.
const MOST_LEFT: usize = 8;
