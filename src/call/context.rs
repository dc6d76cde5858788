//! The part of a call that never changes.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use http::Method;
use tokio::time::Instant;

use super::{Call, CallTarget};
use crate::clock;
use crate::options::Options;

/// The immutable part of a call.
pub(super) struct Context {
    asked: CallTarget,
    options: Options,
    started: Instant,
    /// Read from the clock at first use.
    started_at: OnceLock<SystemTime>,
    deadline: Instant,
}

impl Context {
    #[inline]
    pub(super) const fn new(
        asked: CallTarget,
        options: Options,
        (started, deadline): (Instant, Instant),
    ) -> Self {
        Self {
            asked,
            options,
            started,
            started_at: OnceLock::new(),
            deadline,
        }
    }
}

impl Call {
    pub(crate) fn asked(&self) -> &CallTarget {
        &self.0.context.asked
    }

    pub(crate) fn method(&self) -> Option<&Method> {
        self.asked().method()
    }

    /// Returns the URL as it may be shown: see [`redacted`](crate::redact::redacted).
    pub(crate) fn url(&self) -> String {
        self.asked().url()
    }

    pub(crate) fn route(&self) -> Option<&str> {
        self.options().route.as_deref()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.context.options
    }

    pub(crate) fn started(&self) -> Instant {
        self.0.context.started
    }

    /// Returns when the call began, by the wall clock at the first use of this method.
    pub(crate) fn started_at(&self) -> SystemTime {
        *self.0.context.started_at.get_or_init(|| {
            let since = clock::now().saturating_duration_since(self.started());
            let now = clock::wall();
            now.checked_sub(since).unwrap_or(now)
        })
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.0.context.deadline
    }

    /// Returns the time from the call's begin to its deadline.
    pub(crate) fn whole_time(&self) -> Duration {
        self.deadline().saturating_duration_since(self.started())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        let end = self.ended().unwrap_or_else(clock::now);
        end.saturating_duration_since(self.started())
    }
}
