//! The word of state of a tracker: a bit for each open stage, the marks, and the number of the latest dial.

use crate::hop::Stage;

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
/// The transport that reported its stages has returned its error.
pub(super) const HANDED_BACK: u32 = 1 << 15;
/// What ends when a connection is made for a request that none has taken: hyper-util takes it back from
/// a pooled one that turned out dead.
pub(super) const UNTAKEN: u32 = SETUP | OWN | bit(Stage::Send) | bit(Stage::Wait);
/// From here up the word counts the dials, so that nobody takes one for another.
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
    (state & begun == 0).then_some(state | connected(state))
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

/// The same state, once the service goes on after the transport has returned its error: nothing reports what
/// the service does from here on.
pub(super) fn unreported(state: u32) -> Option<u32> {
    let unreported = state & !(OPEN | TRACKED | HANDED_BACK) | bit(Stage::Wait);
    (state & HANDED_BACK != 0).then_some(unreported)
}

/// A stage begins that is none of the others: whatever was waited for without knowing what it was, this is
/// something else.
pub(super) fn entering(state: u32, stage: Stage) -> Option<u32> {
    (state & GIVEN_UP == 0).then_some(state & !bit(Stage::Wait) | bit(stage))
}
