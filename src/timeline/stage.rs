//! One stage of an attempt, and its end.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::call::Call;
use crate::hop::{Kind, Stage};
use crate::record::{End, StageRecord};

/// A stage of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTiming {
    pub(crate) stage: Stage,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) queued: bool,
    pub(crate) start: Duration,
    pub(crate) duration: Duration,
    pub(crate) end: StageOutcome,
}

impl StageTiming {
    /// Returns the stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns the address of a connect.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns whether a connect is a wait for the connection of another call. Then no connection was made.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.queued
    }

    /// Returns when it was entered, from the beginning of the call.
    #[must_use]
    pub fn start(&self) -> Duration {
        self.start
    }

    /// Returns its duration so far.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Returns how it ended.
    #[must_use]
    pub fn outcome(&self) -> StageOutcome {
        self.end
    }

    pub(super) fn read(record: &StageRecord, call: &Call) -> Self {
        let StageRecord {
            stage,
            entered,
            ended,
            address,
            is_queue,
        } = *record;
        let since = |at: Instant| at.saturating_duration_since(call.started());
        let start = since(entered);
        let over = ended.map_or_else(|| call.elapsed(), |(at, _)| since(at));
        Self {
            stage,
            address,
            queued: is_queue,
            start,
            duration: over.saturating_sub(start),
            end: match ended {
                None => StageOutcome::InProgress,
                Some((_, End::Left)) => StageOutcome::Completed,
                Some((_, End::Failed(kind))) => StageOutcome::Failed(kind),
                Some((_, End::Abandoned)) => StageOutcome::Abandoned,
            },
        }
    }
}

/// The end of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StageOutcome {
    /// It has not ended.
    InProgress,
    /// It succeeded.
    Completed,
    /// It failed.
    Failed(Kind),
    /// It neither succeeded nor failed: the caller dropped the call, or another connection took the request.
    Abandoned,
}
