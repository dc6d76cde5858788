//! The choice between consistency and availability: an error, or the last good response.

use std::time::Duration;

/// Chooses between an error and the last good response: the CAP choice, for one request or one destination.
///
/// A network partition leaves two options. A consistent read fails. An available read returns the last good response,
/// which may be out of date.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Consistency, Options};
///
/// let wishlist = Options::new().consistency(Consistency::StaleFor(Duration::from_secs(60)));
/// let balance = Options::new().consistency(Consistency::Refuse);
/// # drop((wishlist, balance));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Consistency {
    /// Returns the error. A stale response would be worse: the balance of an account.
    #[default]
    Refuse,
    /// Returns the last good response if it is at most this old: a list of wishes.
    StaleFor(#[cfg_attr(feature = "serde", serde(with = "crate::serde_forms::duration"))] Duration),
}

impl Consistency {
    /// Returns the greatest age of a response that may be used; `None` if none may be used.
    pub(crate) const fn window(self) -> Option<Duration> {
        match self {
            Self::Refuse => None,
            Self::StaleFor(window) => Some(window),
        }
    }

    /// Returns the stricter of two choices.
    pub(crate) fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::StaleFor(one), Self::StaleFor(other)) => Self::StaleFor(one.min(other)),
            (Self::Refuse, _) | (_, Self::Refuse) => Self::Refuse,
        }
    }
}

/// Marks the response to a request that got cookies of a jar: it may be for one user alone, so it is not stored.
#[cfg(feature = "cookies")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForOneUser;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_stricter_than_any_window_and_a_short_window_than_a_long_one() {
        let stale = |secs| Consistency::StaleFor(Duration::from_secs(secs));
        for (one, other, stricter) in [
            (Consistency::Refuse, stale(1), Consistency::Refuse),
            (stale(1), Consistency::Refuse, Consistency::Refuse),
            (stale(60), stale(20), stale(20)),
            (stale(20), stale(60), stale(20)),
        ] {
            assert_eq!(one.stricter(other), stricter);
        }
    }
}
