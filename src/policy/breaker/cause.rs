//! Why a circuit rejects attempts, as plain values. `Display` makes the text only when it is needed.

use std::error::Error as StdError;
use std::fmt;

use crate::hop::{Hop, Kind};

/// Where and how an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `None` for an operation that did not observe a hop.
    pub(crate) hop: Option<Hop>,
    pub(crate) kind: Kind,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hop {
            Some(hop) => write!(f, "{hop}: {}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl StdError for Failure {}

/// Why a circuit rejects attempts: what opened it, and the last failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(super) why: Why,
    pub(super) last: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Too many attempts in the window failed, most of them at one hop.
    Failed {
        failed: u32,
        attempts: u32,
        worst: (u32, Failure),
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

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Why::Failed {
                failed,
                attempts,
                worst: (count, Failure { hop, kind }),
            } => {
                write!(f, "{failed} of {attempts} attempts failed, {count} ")?;
                match hop {
                    Some(hop) => write!(f, "at {hop} ({kind})"),
                    None => write!(f, "of them: {kind}"),
                }
            }
            Why::InARow { failed } => write!(f, "{failed} attempts in a row failed"),
            Why::Slow { slow, attempts } => write!(f, "{slow} of {attempts} attempts were slow"),
            Why::Probes { failed, probes } => write!(f, "{failed} of {probes} probes failed"),
            Why::Probe => f.write_str("the probe failed"),
            Why::SlowProbe => f.write_str("the probe was slow"),
            Why::Isolated => f.write_str("isolated by hand"),
        }
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.last.as_ref().map(|last| last as _)
    }
}
