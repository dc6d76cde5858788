//! The one store of an attempt: its stages and facts. The tracker keeps it under a mutex.

use tokio::time::Instant;

use super::facts::Facts;
use super::stages::{End, Stages};
use super::state::{ENDED, GIVEN_UP, MARKS, Marks, OPEN, TAKEN};
use super::state::{abandoned, bit, latest_dial, settled};
use crate::clock;
use crate::hop::{Kind, Stage};

/// What is known of an attempt, besides its marks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    /// A bit for each open stage, whether it uses its own connection, and the number of the latest dial.
    state: u32,
    pub(crate) stages: Stages,
    pub(crate) ended: Option<Instant>,
    pub(crate) facts: Facts,
}

/// What a step did to the stages. It is returned so that subscribers hear of it after the lock is released.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The state before the step.
    pub(super) before: u32,
    /// When, if a stage was entered or ended.
    pub(super) at: Option<Instant>,
    /// How the closed stages ended.
    pub(super) end: End,
    /// The numbers of the records that were closed, by stage.
    pub(super) closed: [Option<usize>; Stage::ALL.len()],
    /// The numbers of the records that were opened, by stage.
    pub(super) opened: [Option<usize>; Stage::ALL.len()],
}

impl Store {
    /// The open stages, the marks, and the number of the latest dial.
    pub(super) fn state(&self, marks: &Marks) -> u32 {
        self.state | marks.all()
    }

    /// Takes one step from state to state. The stages that it closes end with `end`. The clock is read here, under
    /// the lock, so the order of the records is the order of their times.
    pub(super) fn step(
        &mut self,
        marks: &Marks,
        end: End,
        next: impl FnOnce(u32) -> Option<u32>,
    ) -> Change {
        let before = self.state(marks);
        let after = next(before).map_or(before, |after| settled(before, after));
        self.state = after & !MARKS;
        marks.add(after & !before & MARKS);
        let changed = (before ^ after) & OPEN;
        let mut change = Change {
            before,
            at: None,
            end,
            closed: [None; Stage::ALL.len()],
            opened: [None; Stage::ALL.len()],
        };
        if changed == 0 {
            return change;
        }
        let at = clock::now();
        change.at = Some(at);
        for stage in Stage::ALL {
            if changed & before & bit(stage) != 0 {
                change.closed[stage as usize] = self.stages.end(stage, at, end);
            }
        }
        for stage in Stage::ALL {
            if changed & after & bit(stage) != 0 {
                change.opened[stage as usize] = Some(self.stages.open(stage, at));
            }
        }
        change
    }

    /// A connection takes the request, unless it was given up before. A setup that is under way was not needed.
    pub(super) fn take(&mut self, marks: &Marks) -> Change {
        let before = marks.take();
        let is_first = before & (GIVEN_UP | TAKEN) == 0;
        let mut change = self.step(marks, End::Abandoned, |state| {
            is_first.then(|| abandoned(state, latest_dial(state)))?
        });
        change.before = before;
        change
    }

    /// The attempt ends, and every open stage with it. `None` if it was over before.
    pub(super) fn end(&mut self, marks: &Marks, end: End) -> Option<Change> {
        if !marks.end() {
            return None;
        }
        let change = self.step(marks, end, |state| Some(state & !OPEN));
        self.ended = Some(change.at.unwrap_or_else(clock::now));
        Some(change)
    }

    /// The attempt fails, and the latest open stage with it; others are abandoned. `None` if it was over before.
    pub(super) fn fail(&mut self, marks: &Marks, kind: Kind) -> Option<[Change; 2]> {
        if marks.has(ENDED) {
            return None;
        }
        let failing = self.open().map_or(0, bit);
        let failed = self.step(marks, End::Failed(kind), |state| Some(state & !failing));
        Some([failed, self.end(marks, End::Abandoned)?])
    }

    /// The stage that was entered and not left: where the attempt fails if it fails now.
    pub(super) fn open(&self) -> Option<Stage> {
        // Two are open at once only if the response came before the request was sent.
        let mut latest_first = Stage::ALL.into_iter().rev();
        latest_first.find(|stage| self.state & bit(*stage) != 0)
    }
}
