//! The one timer of a driver.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer. It is created at the first wait, and reset if a later wait ends later.
pub(super) struct Alarm<'a>(pub(super) Pin<&'a mut Option<Sleep>>);

impl Alarm<'_> {
    /// Ready at the instant at the latest. It may be ready earlier, so the caller has to check the time.
    ///
    /// A timer that fires too early costs less than a reset.
    pub(super) fn poll_at(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.as_mut().as_pin_mut() {
            Some(sleep)
                if sleep.deadline() == at || sleep.deadline() < at && !sleep.is_elapsed() => {}
            Some(sleep) => sleep.reset(at),
            None => self.0.set(Some(sleep_until(at))),
        }
        match self.0.as_mut().as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// Ready at the instant, not earlier.
    pub(super) fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = self.0.as_mut().as_pin_mut()
            && sleep.deadline() != at
        {
            sleep.reset(at);
        }
        self.poll_at(at, cx)
    }
}
