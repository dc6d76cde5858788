//! What happened in an attempt, in order: a log of bounded size that many hands append to.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::hop::Stage;

/// The stages of one attempt, entered and ended.
pub(crate) struct Log {
    len: AtomicUsize,
    /// An event is one word: its tag in the upper byte (never zero), nanoseconds below.
    first: [AtomicU64; FIRST],
    /// Made when the first are full: few attempts dial more than once.
    more: OnceLock<Box<[AtomicU64; MORE]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Entered,
    Ended(End),
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Left,
    Failed,
    /// Neither: the caller went away, or another connection took the request.
    Abandoned,
}

impl Log {
    pub(crate) const fn new() -> Self {
        Self {
            len: AtomicUsize::new(0),
            first: [const { AtomicU64::new(0) }; FIRST],
            more: OnceLock::new(),
        }
    }

    /// Appends; what finds no room any more is left out (see [`CAPACITY`]).
    pub(crate) fn push(&self, stage: Stage, event: Event, nanos: u64) {
        let tag = (stage as u64) << 4
            | EVENTS
                .iter()
                .position(|e| *e == event)
                .map_or(0, |at| at as u64 + 1);
        let at = self.len.fetch_add(1, Ordering::AcqRel);
        let more = || Box::new([const { AtomicU64::new(0) }; MORE]);
        let slot = match at.checked_sub(FIRST) {
            None => self.first.get(at),
            Some(at) => self.more.get_or_init(more).get(at),
        };
        if let Some(slot) = slot {
            slot.store(tag << TAG_SHIFT | nanos.min(MAX_NANOS), Ordering::Release);
        }
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = (Stage, Event, Duration)> + '_ {
        let more = self.more.get().into_iter().flat_map(|more| more.iter());
        let len = self.len.load(Ordering::Acquire);
        let written = self.first.iter().chain(more).take(len);
        written.filter_map(|slot| {
            let word = slot.load(Ordering::Acquire);
            let tag = word >> TAG_SHIFT;
            let stage = Stage::ALL.get(usize::try_from(tag >> 4).ok()?)?;
            // A tag of zero is a slot that is being written right now.
            let event = EVENTS.get(usize::try_from(tag & 0xf).ok()?.checked_sub(1)?)?;
            Some((*stage, *event, Duration::from_nanos(word & MAX_NANOS)))
        })
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.events()).finish()
    }
}

const EVENTS: [Event; 4] = [
    Event::Entered,
    Event::Ended(End::Left),
    Event::Ended(End::Failed),
    Event::Ended(End::Abandoned),
];

/// Room for the longest attempt: a look-up, [`MOST_DIALS`](super::state::MOST_DIALS) connects of
/// which each may get as far as TLS, and what follows.
const CAPACITY: usize = 2 + 4 * super::state::MOST_DIALS + 14;
/// Room for an attempt that dials once: it enters and leaves each stage.
const FIRST: usize = 2 * Stage::ALL.len();
const MORE: usize = CAPACITY - FIRST;
const TAG_SHIFT: u32 = 56;
/// Two years of nanoseconds.
const MAX_NANOS: u64 = (1 << TAG_SHIFT) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_back_in_order() {
        let log = Log::new();
        let mut pushed = Vec::new();
        for (at, stage) in Stage::ALL.into_iter().enumerate() {
            for event in EVENTS {
                log.push(stage, event, at as u64);
                pushed.push((stage, event, Duration::from_nanos(at as u64)));
            }
        }
        assert_eq!(log.events().collect::<Vec<_>>(), pushed);
    }

    #[test]
    fn log_that_is_full_keeps_what_it_has() {
        let log = Log::new();
        for nanos in 0..1_000 {
            log.push(Stage::Wait, Event::Entered, nanos);
        }
        assert_eq!(log.events().count(), CAPACITY);
        assert_eq!(log.events().next().unwrap().2, Duration::ZERO);
    }
}
