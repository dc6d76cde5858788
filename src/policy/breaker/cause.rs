//! Why a circuit rejects attempts, as plain values. `Display` makes the text only when it is needed.

use std::error::Error as StdError;
use std::fmt;

use crate::hop::{Hop, Kind};

/// Where and how an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailureSite {
    /// `None` for an operation that did not observe a hop.
    pub(crate) hop: Option<Hop>,
    pub(crate) kind: Kind,
}

impl fmt::Display for FailureSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hop {
            Some(hop) => write!(f, "{hop}: {}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl StdError for FailureSite {}

/// Why a circuit rejects attempts: what opened it, and the last failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RejectionCause {
    pub(super) why: OpeningReason,
    pub(super) last: Option<FailureSite>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpeningReason {
    /// Too many attempts in the window failed, most of them at one hop.
    Failed {
        failed: u32,
        attempts: u32,
        worst: (u32, FailureSite),
    },
    /// This many attempts in a row failed.
    InARow { failed: u32 },
    /// Too many attempts in the window were slow.
    Slow { slow: u32, attempts: u32 },
    /// The circuit was open, and too many of the probes failed.
    Probes { failed: u32, probes: u32 },
    /// The circuit was open, and the probe failed.
    Probe,
    /// The circuit was open, and the response to the probe was too slow.
    SlowProbe,
    /// The user isolated the destination.
    Isolated,
}

impl fmt::Display for RejectionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            OpeningReason::Failed {
                failed,
                attempts,
                worst: (count, FailureSite { hop, kind }),
            } => {
                write!(f, "{failed} of {attempts} attempts failed, {count} ")?;
                match hop {
                    Some(hop) => write!(f, "at {hop} ({kind})"),
                    None => write!(f, "of them: {kind}"),
                }
            }
            OpeningReason::InARow { failed: 1 } => f.write_str("the last attempt failed"),
            OpeningReason::InARow { failed } => write!(f, "{failed} attempts in a row failed"),
            OpeningReason::Slow { slow, attempts } => {
                write!(f, "{slow} of {attempts} attempts were slow")
            }
            OpeningReason::Probes { failed, probes } => {
                write!(f, "{failed} of {probes} probes failed")
            }
            OpeningReason::Probe => f.write_str("the probe failed"),
            OpeningReason::SlowProbe => f.write_str("the probe was slow"),
            OpeningReason::Isolated => f.write_str("isolated by hand"),
        }
    }
}

impl StdError for RejectionCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.last.as_ref().map(|last| last as _)
    }
}

#[cfg(test)]
mod messages {
    use super::OpeningReason::{Failed, InARow, Isolated, Probe, Probes, Slow, SlowProbe};
    use super::{FailureSite, OpeningReason, RejectionCause};
    use crate::hop::{Hop, Kind};

    const AT: FailureSite = FailureSite {
        hop: Some(Hop::Connect),
        kind: Kind::Refused,
    };
    const NOWHERE: FailureSite = FailureSite { hop: None, ..AT };

    fn of(why: OpeningReason) -> RejectionCause {
        RejectionCause { why, last: None }
    }

    crate::messages_tests::list!(RejectionCause: of(Failed {
            failed: 12,
            attempts: 20,
            worst: (9, AT),
        }),
        of(Failed {
            failed: 12,
            attempts: 20,
            worst: (9, NOWHERE),
        }),
        of(InARow { failed: 1 }),
        of(InARow { failed: 3 }),
        of(Slow { slow: 12, attempts: 20 }),
        of(Probes { failed: 1, probes: 2 }),
        of(Probe),
        of(SlowProbe),
        of(Isolated));
}
