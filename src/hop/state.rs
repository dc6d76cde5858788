//! The word of state of a tracker: a bit for each open stage, and the marks.

use super::timeline::Stage;

/// The bit of a stage.
pub(super) const fn bit(stage: Stage) -> u16 {
    1 << stage as u16
}

/// How many addresses one attempt tries at the most.
pub(crate) const MOST_DIALS: usize = 8;

pub(super) const SETUP: u16 = bit(Stage::Connect) | bit(Stage::Tls);
/// All stages.
pub(super) const OPEN: u16 = (1 << Stage::ALL.len()) - 1;
/// The transport reports its stages.
pub(super) const TRACKED: u16 = 1 << 8;
/// The connection took the request: the peer may have seen it.
pub(super) const TAKEN: u16 = 1 << 9;
/// Nothing more may be sent.
pub(super) const GIVEN_UP: u16 = 1 << 10;
/// The request was handed over to its last byte.
pub(super) const SENT: u16 = 1 << 11;
/// The response head arrived.
pub(super) const HEAD: u16 = 1 << 12;
/// The connection in use was made by this attempt.
pub(super) const OWN: u16 = 1 << 13;
