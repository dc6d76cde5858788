//! The fate of a request or a connection. It is drawn from the seed, the caller and the number of the try.
//!
//! The clock and the order of arrival play no part. The same seed gives order 17 the same bad luck at its second try,
//! however the tasks are scheduled.

use fastrand::Rng;

/// The fate of a request that has arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Before the work: the connection is reset.
    Reset,
    /// Before the work: 503.
    Unavailable,
    /// Before the work: silence, until the client gives up.
    Silent,
    /// The work takes longer than the client waits, and is done nevertheless.
    Slow,
    /// After the work: the connection is closed or reset without a response.
    Lost { reset: bool },
    /// After the work: the response breaks off in its body.
    BrokenOff,
    /// A good response. The connection is closed after it, without notice.
    AnswerThenClose,
    /// A good answer.
    Answer,
}

impl Fate {
    /// Returns the fate of the request that asks for an order for the `visit`-th time, counted from 0.
    pub(crate) fn of(seed: u64, order: u32, visit: u32) -> Self {
        match dice(seed, u64::from(order) << 32 | u64::from(visit)).u8(..100) {
            0..5 => Self::Reset,
            5..11 => Self::Unavailable,
            11..17 => Self::Silent,
            17..21 => Self::Slow,
            21..31 => Self::Lost { reset: false },
            31..38 => Self::Lost { reset: true },
            38..42 => Self::BrokenOff,
            42..47 => Self::AnswerThenClose,
            _ => Self::Answer,
        }
    }
}

/// The fate of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Welcome,
    /// Reset before a request is read from it.
    Slammed,
    /// The same, and for a moment no process listens on the port: connects are refused.
    Shut,
}

impl Door {
    /// Returns the fate of the `ordinal`-th connection.
    pub(crate) fn of(seed: u64, ordinal: u32) -> Self {
        match dice(seed, u64::from(ordinal) | 1 << 63).u8(..100) {
            0..4 => Self::Slammed,
            4..5 => Self::Shut,
            _ => Self::Welcome,
        }
    }
}

fn dice(seed: u64, asker: u64) -> Rng {
    Rng::with_seed(seed.wrapping_mul(ODD.0) ^ asker.wrapping_mul(ODD.1))
}

/// Odd numbers without a pattern, so that neighbors get different luck (those of splitmix64).
const ODD: (u64, u64) = (0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb);
