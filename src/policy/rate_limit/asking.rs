//! A call that waits for the response of the store.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::decide::Rate;
use super::outage::StoreTicket;
use super::policy::{Patience, rejected};
use super::shared::{SharedRateLimit, StoreFailure};
use super::state::{Shared, Slot};
use super::store::{SlotDecision, SlotRequest};
use crate::box_error::BoxError;
use crate::callback::require;
use crate::clock;
use crate::destination::Destination;
use crate::error::Error;
use crate::policy::Versioned;
use crate::telemetry::Span;

/// A call that waits for the response of the store. Dropping it gives the question up: a slot that was granted
/// meanwhile is lost.
pub(crate) struct Asking {
    /// The mutex makes it `Sync`, as the body of a response has to be. It is never locked.
    future: Mutex<ResponseFuture>,
    limit: SharedRateLimit,
    ticket: StoreTicket,
    bucket: Arc<Shared>,
    /// The local share of the rate.
    share: Versioned<Rate>,
    patience: Patience,
    /// The longest wait that the store may grant.
    longest: Duration,
    timeout: Duration,
    asked: Instant,
    is_settled: bool,
    until: Instant,
}

type Response = Result<SlotDecision, BoxError>;
type ResponseFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The parts of a question to the store.
pub(super) struct Question {
    pub(super) ticket: StoreTicket,
    pub(super) bucket: Arc<Shared>,
    pub(super) rate: Rate,
    pub(super) share: Versioned<Rate>,
    pub(super) patience: Patience,
}

impl Asking {
    pub(super) fn new(limit: &SharedRateLimit, question: Question, now: Instant) -> Self {
        let Question {
            ticket,
            bucket,
            rate,
            share,
            patience,
        } = question;
        let left = patience.left(now);
        let timeout = limit.config().get_timeout().min(left / 2);
        // The wait for the slot begins after the response.
        let longest = patience.longest(left.saturating_sub(timeout));
        let destination = bucket.destination().clone();
        Self {
            future: Mutex::new(Box::pin(ask(limit.clone(), destination, rate, longest))),
            limit: limit.clone(),
            ticket,
            bucket,
            share,
            patience,
            longest,
            timeout,
            asked: now,
            is_settled: false,
            until: clock::after(now, timeout),
        }
    }

    /// Returns when the wait for the response ends.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Ready with the response of the store, and the slot that follows from it: one of the store, or one of the local
    /// share.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the limit.
    pub(crate) fn poll(
        &mut self,
        span: impl FnOnce() -> Span,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Slot, Error>> {
        let future = self.future.get_mut();
        let future = future.unwrap_or_else(PoisonError::into_inner);
        let polled = require(self.limit.site(), || future.as_mut().poll(cx));
        let response = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(response)) => response.map_err(StoreFailure::Failed),
            Err(panicked) => Err(StoreFailure::Panicked(panicked)),
        };
        Poll::Ready(self.settle(response, span))
    }

    /// Ends the wait because the store did not respond in time. The slot is one of the local share.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the local share.
    pub(crate) fn expired(&mut self, span: impl FnOnce() -> Span) -> Result<Slot, Error> {
        if self.timeout < self.limit.config().get_timeout() {
            // The call has little time left. That alone says nothing about the store.
            self.is_settled = true;
            self.limit.gave_up(self.ticket, self.asked, &span());
            let bucket = Arc::clone(&self.bucket);
            return self.patience.reserve(bucket, self.share, clock::now());
        }
        self.settle(Err(StoreFailure::Late(self.timeout)), span)
    }

    fn settle(
        &mut self,
        response: Result<SlotDecision, StoreFailure>,
        span: impl FnOnce() -> Span,
    ) -> Result<Slot, Error> {
        self.is_settled = true;
        let response = match response {
            Ok(SlotDecision::Granted { wait }) if wait > self.longest => {
                Err(StoreFailure::TooLong(wait, self.longest))
            }
            other => other,
        };
        self.limit
            .record(self.ticket, response.as_ref().err(), &span());
        let now = clock::now();
        let bucket = Arc::clone(&self.bucket);
        match response {
            Ok(SlotDecision::Granted { wait }) => {
                let slot = bucket.granted((self.share, wait), now, self.patience.is_informed());
                // The server may have said meanwhile that nothing is left.
                let wait = slot.due().saturating_duration_since(now);
                let longest = self.patience.longest(self.patience.left(now));
                match wait <= longest {
                    true => Ok(slot),
                    false => Err(rejected(wait, (longest, false))),
                }
            }
            Ok(SlotDecision::Refused { wait }) => Err(rejected(wait, (self.longest, false))),
            Err(_) => self.patience.reserve(bucket, self.share, now),
        }
    }
}

impl Drop for Asking {
    /// The caller went away before the store responded. If all callers do, the store must be noticed all the same.
    fn drop(&mut self) {
        if !self.is_settled {
            self.limit
                .gave_up(self.ticket, self.asked, &Span::current());
        }
    }
}

/// Asks the store. The future owns its parts, so the call can keep it.
async fn ask(
    limit: SharedRateLimit,
    destination: Destination,
    rate: Rate,
    longest: Duration,
) -> Response {
    let request = SlotRequest::new(destination, rate.interval, rate.burst, longest);
    limit.store().reserve(&request).await
}
