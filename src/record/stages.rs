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
    /// Whether a connect is a wait for the connection of another call.
    pub(crate) is_queue: bool,
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
    /// Space for an attempt that dials once, so that it allocates nothing here.
    first: [Option<StageRecord>; Stage::ALL.len()],
    more: Vec<StageRecord>,
    /// The number of records up to the latest one of each stage; 0 means none.
    latest: [u32; Stage::ALL.len()],
    count: u32,
}

impl Stages {
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &StageRecord> {
        self.first.iter().flatten().chain(&self.more)
    }

    /// Returns the latest record of `stage`.
    pub(crate) fn latest(&self, stage: Stage) -> Option<&StageRecord> {
        self.record(self.latest[stage as usize].checked_sub(1)?)
    }

    /// Returns the record with this number.
    pub(super) fn record(&self, number: u32) -> Option<&StageRecord> {
        let number = number as usize;
        match self.first.get(number) {
            Some(record) => record.as_ref(),
            None => self.more.get(number - self.first.len()),
        }
    }

    /// Ends the stage if it is open, else opens it. Returns the number of its record, and how it ended.
    pub(super) fn change(
        &mut self,
        stage: Stage,
        at: Instant,
        how: impl Fn(Stage) -> End,
    ) -> (u32, Option<End>) {
        match self.open_mut(stage) {
            None => (self.open(stage, at), None),
            Some((number, record)) => {
                let end = how(stage);
                record.ended = Some((at, end));
                (number, Some(end))
            }
        }
    }

    /// Opens a record and returns its number.
    fn open(&mut self, stage: Stage, entered: Instant) -> u32 {
        let number = self.count;
        let record = StageRecord {
            stage,
            entered,
            ended: None,
            address: None,
            is_queue: false,
        };
        match self.first.get_mut(number as usize) {
            Some(free) => *free = Some(record),
            None => self.more.push(record),
        }
        self.count += 1;
        self.latest[stage as usize] = self.count;
        number
    }

    /// Returns the open record of `stage` and its number. No stage is entered again before it has ended.
    pub(super) fn open_mut(&mut self, stage: Stage) -> Option<(u32, &mut StageRecord)> {
        let number = self.latest[stage as usize].checked_sub(1)?;
        let first = self.first.len();
        let record = match self.first.get_mut(number as usize) {
            Some(record) => record.as_mut(),
            None => self.more.get_mut(number as usize - first),
        };
        Some((number, record.filter(|record| record.ended.is_none())?))
    }
}
