//! The stages of an attempt, in the order in which it entered them.

use std::net::SocketAddr;

use tokio::time::Instant;

use crate::hop::{Kind, Stage};

/// One stretch of an attempt's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StageRecord {
    pub(crate) stage: Stage,
    pub(crate) entered: Instant,
    /// When and how it ended; `None` while it is open.
    pub(crate) ended: Option<(Instant, End)>,
    /// The address that is dialed, for a connect.
    pub(crate) address: Option<SocketAddr>,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Left,
    Failed(Kind),
    /// Neither: the caller went away, or another connection took the request.
    Abandoned,
}

/// The records of one attempt. A record keeps its number: its place in the order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stages {
    /// Room for an attempt that dials once, so that it allocates nothing here.
    first: [Option<StageRecord>; Stage::ALL.len()],
    more: Vec<StageRecord>,
}

impl Stages {
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &StageRecord> {
        self.first.iter().flatten().chain(&self.more)
    }

    /// The latest record of `stage`.
    pub(crate) fn latest(&self, stage: Stage) -> Option<&StageRecord> {
        self.iter().rfind(|record| record.stage == stage)
    }

    /// Opens a record and returns its number.
    pub(super) fn open(&mut self, stage: Stage, entered: Instant) -> usize {
        let number = self.iter().count();
        let record = StageRecord {
            stage,
            entered,
            ended: None,
            address: None,
        };
        match self.first.get_mut(number) {
            Some(free) => *free = Some(record),
            None => self.more.push(record),
        }
        number
    }

    /// The open record of `stage` and its number.
    pub(super) fn open_mut(&mut self, stage: Stage) -> Option<(usize, &mut StageRecord)> {
        let records = self.first.iter_mut().flatten().chain(&mut self.more);
        let mut numbered = records.enumerate();
        numbered.find(|(_, record)| record.stage == stage && record.ended.is_none())
    }
}
