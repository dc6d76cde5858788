//! The rests of failed responses, which are read while other attempts are in flight.

use std::pin::Pin;
use std::task::Context;

use http_body::Body;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::body::DriverBody;
use super::drain::{DRAIN_TIME, Drain};
use crate::box_error::BoxError;
use crate::clock;

/// The bodies that are read for their connections alone.
pub(super) struct Drains<R>(Vec<Draining<R>>);

struct Draining<R> {
    body: Pin<Box<DriverBody<R>>>,
    drain: Drain,
    until: Instant,
}

impl<R> Drains<R> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }
}

impl<R: Body<Error: Into<BoxError>>> Drains<R> {
    /// Adds the body of a response that arrived now.
    pub(super) fn push(&mut self, body: DriverBody<R>, now: Instant) {
        self.0.push(Draining {
            drain: Drain::new(body.is_here()),
            body: Box::pin(body),
            until: clock::after(now, DRAIN_TIME),
        });
    }

    /// Reads on. A body that takes too long is dropped, and with it its connection and its permit.
    pub(super) fn poll(&mut self, alarm: &mut Alarm<'_>, cx: &mut Context<'_>) {
        let now = clock::now();
        self.0.retain_mut(|draining| {
            let Draining { body, drain, until } = draining;
            drain.poll(body.as_mut(), cx).is_pending() && now < *until
        });
        let next = self.0.iter().map(|draining| draining.until).min();
        if let Some(until) = next
            && alarm.poll_at(until, cx).is_ready()
        {
            // The timer may be another one, which was set before and is read by another part of the driver.
            cx.waker().wake_by_ref();
        }
    }
}
