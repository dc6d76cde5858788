//! Minimum, median, 95th percentile and maximum of some times.

use std::time::Duration;

pub(crate) struct Summary {
    pub(crate) count: usize,
    pub(crate) min: Duration,
    pub(crate) median: Duration,
    pub(crate) p95: Duration,
    pub(crate) max: Duration,
}

impl Summary {
    /// Returns the summary of these times; `None` if there are none.
    pub(crate) fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        // The nearest rank: each value has been measured.
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        Some(Self {
            count: sorted.len(),
            min: at(0)?,
            median: at(50)?,
            p95: at(95)?,
            max: at(100)?,
        })
    }
}
