//! The state of an attempt: marks in one atomic word, and the pure steps from state to state.
//!
//! A state is the marks together with what the store keeps under its lock: a bit for each open stage, whether the
//! transport reports them, whether the connection is the attempt's own, and the number of the latest dial.

use super::sync::{AtomicU32, Ordering};
use crate::hop::Stage;

/// The marks of an attempt. They are only ever added, but for the mark of a connection that proves that nothing went
/// out. Giving up and taking race here, without a lock: the one that comes first is the truth.
#[derive(Debug, Default)]
pub(super) struct Marks(AtomicU32);

impl Marks {
    pub(super) fn all(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn has(&self, mark: u32) -> bool {
        self.all() & mark != 0
    }

    /// Adds marks and returns those before.
    pub(super) fn add(&self, marks: u32) -> u32 {
        self.0.fetch_or(marks, Ordering::AcqRel)
    }

    /// Takes the request unless it was given up. Returns the marks before.
    pub(super) fn take(&self) -> u32 {
        let take = |marks| (marks & GIVEN_UP == 0).then_some(marks | TAKEN);
        let taken = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.unwrap_or_else(|given_up| given_up)
    }

    /// Removes the marks of a connection that took the request, if that one has proved that nothing went out.
    #[cfg(feature = "client")]
    pub(super) fn untake(&self) {
        self.0.fetch_and(!(TAKEN | SENT), Ordering::AcqRel);
    }

    /// Gives the request up. Returns whether it was taken before.
    pub(super) fn give_up(&self) -> bool {
        self.add(GIVEN_UP) & TAKEN != 0
    }

    /// Ends the attempt. Returns false if it was over before.
    pub(super) fn end(&self) -> bool {
        self.add(ENDED) & ENDED == 0
    }
}

/// The bit of a stage.
pub(super) const fn bit(stage: Stage) -> u32 {
    1 << stage as u32
}

/// How many addresses one attempt tries at the most.
pub(crate) const MOST_DIALS: usize = 8;

pub(super) const SETUP: u32 = bit(Stage::Connect) | bit(Stage::Tls);
/// All stages.
pub(super) const OPEN: u32 = (1 << Stage::ALL.len()) - 1;
/// The transport reports its stages.
pub(super) const TRACKED: u32 = 1 << 8;
/// The connection took the request: the peer may have seen it.
pub(super) const TAKEN: u32 = 1 << 9;
/// Nothing more may be sent.
pub(super) const GIVEN_UP: u32 = 1 << 10;
/// The request was handed over to its last byte.
pub(super) const SENT: u32 = 1 << 11;
/// The response head arrived.
pub(super) const HEAD: u32 = 1 << 12;
/// The connection in use was made by this attempt.
pub(super) const OWN: u32 = 1 << 13;
/// The attempt is over: no stage begins any more.
pub(super) const ENDED: u32 = 1 << 14;
/// What stands in the atomic word.
pub(super) const MARKS: u32 = TAKEN | GIVEN_UP | SENT | HEAD | ENDED;

/// What ends when a connection is made for a request that none has taken: a pooled one turned out dead.
pub(super) const UNTAKEN: u32 = SETUP | OWN | bit(Stage::Send) | bit(Stage::Wait);
/// From here up the word counts the dials, so that each has a number of its own.
const DIALS: u32 = 16;

/// The state that comes next, if it may: once the attempt is over, no stage is open.
pub(super) const fn settled(before: u32, after: u32) -> u32 {
    if before & ENDED == 0 {
        after
    } else {
        after & !OPEN
    }
}

/// The same state, with one more dial.
pub(super) const fn dial_more(state: u32) -> u32 {
    state.wrapping_add(1 << DIALS)
}

/// The number of the latest dial.
pub(super) const fn latest_dial(state: u32) -> u32 {
    state >> DIALS
}

/// The same state, with what comes once a connection is there, if none is being made and the end is not in
/// sight.
pub(super) fn queued(state: u32) -> Option<u32> {
    let begun = SETUP | SENT | HEAD | GIVEN_UP;
    (state & begun == 0).then_some(state & !bit(Stage::Wait) | connected(state))
}

/// The same state without the setup of `dial`, if that is the latest one; another connection is waited for.
pub(super) fn abandoned(state: u32, dial: u32) -> Option<u32> {
    let left = state & !SETUP;
    (latest_dial(state) == dial).then(|| queued(left).unwrap_or(left))
}

/// What comes once a connection is there: the sending, or, where nobody reports it, one wait until the
/// answer.
pub(super) const fn connected(state: u32) -> u32 {
    if state & TRACKED == 0 {
        bit(Stage::Wait)
    } else {
        bit(Stage::Send)
    }
}

/// A stage begins that is none of the others: whatever was waited for without knowing what it was, this is
/// something else.
pub(super) fn entering(state: u32, stage: Stage) -> Option<u32> {
    (state & GIVEN_UP == 0).then_some(state & !bit(Stage::Wait) | bit(stage))
}

/// A wait begins if nothing was reported before.
pub(super) fn waiting(state: u32) -> Option<u32> {
    (state == 0).then_some(bit(Stage::Wait))
}

/// The last byte of the request was handed over. The wait begins, unless the response came first.
pub(super) fn sent_all(state: u32) -> Option<u32> {
    let wait = match state & HEAD {
        0 => bit(Stage::Wait),
        _ => 0,
    };
    let sent = state & !bit(Stage::Send) | SENT | wait;
    (state & bit(Stage::Send) != 0).then_some(sent)
}

/// The response head arrived. The sending may go on; a setup that is under way was not needed.
pub(super) fn head(state: u32) -> Option<u32> {
    Some(state & !(SETUP | bit(Stage::Wait)) | HEAD | bit(Stage::Receive))
}
