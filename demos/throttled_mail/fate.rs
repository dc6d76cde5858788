//! The fate of a mail that the quota let through, and the form of a refusal's hint. They are drawn from the seed, the
//! mail and the number of the try. The clock and the order of arrival play no part.

use fastrand::Rng;

/// The fate of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The connection is closed before the mail has gone out.
    Dropped,
    /// The mail goes out, and the connection is closed without a response.
    Lost,
    /// The mail goes out, and the gateway in front of the API has already responded 504.
    GaveUp,
    /// The mail goes out, and a good response comes.
    Answer,
}

impl Fate {
    /// Returns the fate of a mail that was let through for the `sending`-th time, counted from 0.
    pub(crate) fn of(seed: u64, mail: u32, sending: u32) -> Self {
        match dice(seed, mail, sending).u8(..100) {
            0..6 => Self::Dropped,
            6..22 => Self::Lost,
            22..28 => Self::GaveUp,
            _ => Self::Answer,
        }
    }
}

/// How a 429 says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// `Retry-After`, in seconds.
    Seconds,
    /// `Retry-After`, as a date.
    Date,
    /// `RateLimit` alone.
    Quota,
}

impl Spoken {
    /// Returns the form for a mail that was throttled for the `refusal`-th time, counted from 0.
    pub(crate) fn of(seed: u64, mail: u32, refusal: u32) -> Self {
        match dice(!seed, mail, refusal).u8(..3) {
            0 => Self::Seconds,
            1 => Self::Date,
            _ => Self::Quota,
        }
    }
}

fn dice(seed: u64, mail: u32, time: u32) -> Rng {
    let asker = u64::from(mail) << 32 | u64::from(time);
    Rng::with_seed(seed.wrapping_mul(ODD.0) ^ asker.wrapping_mul(ODD.1))
}

/// Odd numbers without a pattern, so that neighbors get different luck (those of splitmix64).
const ODD: (u64, u64) = (0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb);
