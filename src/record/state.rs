//! The state of an attempt: marks in one atomic word, and the pure steps from state to state.
//!
//! A state has the marks, and the facts that the store keeps under its lock. These are a bit for each open stage, and
//! the number of the latest dial. Two more tell whether the transport reports stages, and whether the connection is the
//! attempt's own.

use super::sync::{AtomicU32, Ordering};
use crate::hop::Stage;

/// The marks of an attempt. Marks are only added, with one exception: the mark of a connection that proves that nothing
/// went out is removed. Giving up and taking race here without a lock: the first one wins.
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

    /// Removes the marks of a connection that took the request, if the connection has proved that nothing went out.
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

/// Returns the bit of a stage.
pub(super) const fn bit(stage: Stage) -> u32 {
    1 << stage as u32
}

/// The maximum number of addresses that one attempt tries.
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
/// The marks in the atomic word.
pub(super) const MARKS: u32 = TAKEN | GIVEN_UP | SENT | HEAD | ENDED;

/// The bits that a new connection clears if no connection has taken the request: a pooled one turned out dead.
pub(super) const UNTAKEN: u32 = SETUP | OWN | bit(Stage::Send) | bit(Stage::Wait);
/// From this bit up, the word counts the dials, so that each one has its own number.
const DIALS: u32 = 16;

/// Returns the next state, if the step is permitted. Once the attempt is over, no stage is open.
pub(super) const fn settled(before: u32, after: u32) -> u32 {
    if before & ENDED == 0 {
        after
    } else {
        after & !OPEN
    }
}

/// Returns the state with one more dial.
pub(super) const fn dial_more(state: u32) -> u32 {
    state.wrapping_add(1 << DIALS)
}

/// Returns the number of the latest dial.
pub(super) const fn latest_dial(state: u32) -> u32 {
    state >> DIALS
}

/// Returns the state with the stage that follows a connection. `None` if a connection is being made, or if the request
/// is sent or given up or has its response head.
pub(super) fn queued(state: u32) -> Option<u32> {
    let begun = SETUP | SENT | HEAD | GIVEN_UP;
    (state & begun == 0).then_some(state & !bit(Stage::Wait) | connected(state))
}

/// Returns the state without the setup of `dial`, if that is the latest one. The attempt waits for another connection.
pub(super) fn abandoned(state: u32, dial: u32) -> Option<u32> {
    let left = state & !SETUP;
    (latest_dial(state) == dial).then(|| queued(left).unwrap_or(left))
}

/// Returns the stage that follows a connection. It is the send, or, if the transport does not report its stages, one
/// wait until the response.
pub(super) const fn connected(state: u32) -> u32 {
    if state & TRACKED == 0 {
        bit(Stage::Wait)
    } else {
        bit(Stage::Send)
    }
}

/// Opens a stage that the other steps do not cover, and ends an unspecified wait.
pub(super) fn entering(state: u32, stage: Stage) -> Option<u32> {
    (state & GIVEN_UP == 0).then_some(state & !bit(Stage::Wait) | bit(stage))
}

/// Opens a wait, if nothing was reported before.
pub(super) fn waiting(state: u32) -> Option<u32> {
    (state == 0).then_some(bit(Stage::Wait))
}

/// Ends the send after the last byte of the request, and opens the wait unless the response came first.
pub(super) fn sent_all(state: u32) -> Option<u32> {
    let wait = match state & HEAD {
        0 => bit(Stage::Wait),
        _ => 0,
    };
    let sent = state & !bit(Stage::Send) | SENT | wait;
    (state & bit(Stage::Send) != 0).then_some(sent)
}

/// Records the response head. The send may continue; a setup in progress was not needed.
pub(super) fn head(state: u32) -> Option<u32> {
    Some(state & !(SETUP | bit(Stage::Wait)) | HEAD | bit(Stage::Receive))
}
