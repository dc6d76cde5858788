//! The store of an attempt: its stages and facts. The tracker keeps it under a mutex.

use tokio::time::Instant;

use super::facts::Facts;
use super::stages::{End, Stages};
use super::state::{GIVEN_UP, MARKS, Marks, OPEN, TAKEN, TRACKED};
use super::state::{abandoned, latest_dial, settled};
use crate::clock;
use crate::hop::Stage;

/// The record of an attempt, besides its marks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    /// A bit for each open stage, whether it uses its own connection, and the number of the latest dial.
    state: u32,
    pub(crate) stages: Stages,
    pub(crate) ended: Option<Instant>,
    pub(crate) facts: Facts,
    /// When a stage was last entered or ended.
    latest: Option<Instant>,
}

/// The changes of a step. They are returned so that subscribers are notified after the lock is released.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The state before the step.
    pub(super) before: u32,
    /// The time, if a stage was entered or ended.
    pub(super) at: Option<Instant>,
    /// The record that was opened or closed, by stage.
    pub(super) records: [Option<Changed>; Stage::ALL.len()],
}

/// The number of a record, and how it ended if it was closed.
type Changed = (u32, Option<End>);

impl Store {
    /// Returns the open stages, the marks, and the number of the latest dial.
    pub(super) fn state(&self, marks: &Marks) -> u32 {
        self.state | marks.all()
    }

    /// Takes one step from state to state. `how` is the end of the stages that this closes. The clock is read here,
    /// under the lock, so the order of the records is the order of their times.
    pub(super) fn step(
        &mut self,
        marks: &Marks,
        how: impl Fn(Stage) -> End,
        next: impl FnOnce(u32) -> Option<u32>,
    ) -> Change {
        self.step_at((marks, None), how, next)
    }

    /// Does the same for a caller that has just read the clock. Another task may have recorded a later time since then.
    pub(super) fn step_at(
        &mut self,
        (marks, now): (&Marks, Option<Instant>),
        how: impl Fn(Stage) -> End,
        next: impl FnOnce(u32) -> Option<u32>,
    ) -> Change {
        let before = self.state(marks);
        let after = next(before).map_or(before, |after| settled(before, after));
        self.state = after & !MARKS;
        let added = after & !before & MARKS;
        if added != 0 {
            marks.add(added);
        }
        let changed = (before ^ after) & OPEN;
        let mut change = Change {
            before,
            at: None,
            records: [None; Stage::ALL.len()],
        };
        if changed != 0 {
            let at = self.in_order(now);
            change.at = Some(at);
            let mut left = changed;
            while left != 0 {
                let stage = Stage::ALL[left.trailing_zeros() as usize];
                left &= left - 1;
                change.records[stage as usize] = Some(self.stages.change(stage, at, &how));
            }
        }
        change
    }

    /// Returns the time of a change: no earlier than the change before.
    fn in_order(&mut self, now: Option<Instant>) -> Instant {
        let now = now.unwrap_or_else(clock::now);
        let at = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(at);
        at
    }

    /// Takes the request for a connection, unless it was given up before. A setup in progress was not needed.
    pub(super) fn take(&mut self, marks: &Marks) -> Change {
        let before = marks.take();
        let is_first = before & (GIVEN_UP | TAKEN) == 0;
        let next = |state| abandoned(state, latest_dial(state)).filter(|_| is_first);
        let change = self.step(marks, |_| End::Abandoned, next);
        Change { before, ..change }
    }

    /// Ends the attempt and every open stage. `None` if it was over before.
    pub(super) fn end(&mut self, marks: &Marks, how: impl Fn(Stage) -> End) -> Option<Change> {
        self.end_at((marks, None), how)
    }

    /// Does the same for a caller that has just read the clock.
    pub(super) fn end_at(
        &mut self,
        (marks, now): (&Marks, Option<Instant>),
        how: impl Fn(Stage) -> End,
    ) -> Option<Change> {
        if !marks.end() {
            return None;
        }
        let change = self.step_at((marks, now), how, |state| Some(state & !OPEN));
        self.ended = change.at.or_else(|| Some(self.in_order(now)));
        Some(change)
    }

    /// Continues after a transport has left the attempt, if the service continues. The open stages ended with the
    /// transport, and the service's next steps are not reported. `None` if no transport has left.
    pub(super) fn go_on(&mut self, marks: &Marks) -> Option<Change> {
        let how = self.facts.handed_back.take()?;
        self.facts.went_on = true;
        let left = |state| Some(state & !(OPEN | TRACKED));
        Some(self.step(marks, |_| how, left))
    }

    /// Returns the stage that is open. If the attempt fails now, it fails there.
    pub(super) fn open(&self) -> Option<Stage> {
        // Two are open at once only if the response came before the request was sent. The later one counts.
        let later = (self.state & OPEN).checked_ilog2()?;
        Stage::ALL.get(later as usize).copied()
    }
}
