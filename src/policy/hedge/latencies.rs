//! How long a destination takes to respond: a histogram in bounded memory.

use std::time::Duration;

/// The latest response times of one destination, and one quantile of them.
///
/// A bucket is at most an eighth wider than its beginning. When the histogram is full, all counts are halved, so older
/// times weigh less and less.
#[derive(Debug)]
pub(super) struct Latencies {
    buckets: Box<[u16; BUCKETS]>,
    total: u32,
    /// The number of times since the quantile was computed.
    fresh: u32,
    quantile: Duration,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self {
            buckets: Box::new([0; BUCKETS]),
            total: 0,
            fresh: 0,
            quantile: Duration::ZERO,
        }
    }

    /// Adds the time of one attempt.
    pub(super) fn record(&mut self, took: Duration) {
        if self.total >= FULL {
            for bucket in &mut *self.buckets {
                *bucket /= 2;
            }
            self.total = self.buckets.iter().map(|count| u32::from(*count)).sum();
        }
        if let Some(bucket) = self.buckets.get_mut(index(took)) {
            *bucket = bucket.saturating_add(1);
        }
        self.total += 1;
        self.fresh += 1;
    }

    /// Returns the time within which this share of the attempts got its response, or `None` before 20 calls were seen.
    pub(super) fn quantile(&mut self, quantile: f64) -> Option<Duration> {
        if self.total < LEAST_CALLS {
            return None;
        }
        // Few more times cannot move the quantile far, so the buckets are not walked for each call.
        if self.fresh > self.total / 32 {
            self.fresh = 0;
            self.quantile = self.compute(quantile);
        }
        Some(self.quantile)
    }

    fn compute(&self, quantile: f64) -> Duration {
        let rank = (f64::from(self.total) * quantile).ceil() as u32;
        let mut below = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            below += u32::from(*count);
            if below >= rank {
                return upper(index);
            }
        }
        upper(BUCKETS - 1)
    }
}

/// Returns the bucket of a time. The times below 8 µs have a bucket each, then each power of two has eight.
fn index(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if micros < PER_OCTAVE as u64 {
        return micros as usize;
    }
    let octave = micros.ilog2() - BITS;
    let within = (micros >> octave) as usize - PER_OCTAVE;
    let index = (octave as usize + 1) * PER_OCTAVE + within;
    index.min(BUCKETS - 1)
}

/// Returns the first time that is above a bucket.
fn upper(index: usize) -> Duration {
    let octave = index / PER_OCTAVE;
    let micros = match octave.checked_sub(1) {
        None => index as u64 + 1,
        Some(shift) => ((index % PER_OCTAVE + PER_OCTAVE + 1) as u64) << shift,
    };
    Duration::from_micros(micros)
}

const BITS: u32 = 3;
const PER_OCTAVE: usize = 1 << BITS;
/// Up to the bucket of a day, the longest deadline.
const BUCKETS: usize = 35 * PER_OCTAVE;
/// A thousand calls show a 99th percentile. More would follow a change too slowly.
const FULL: u32 = 1_000;
/// With fewer calls, the 95th percentile is the slowest one.
pub(super) const LEAST_CALLS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MICROS: fn(u64) -> Duration = Duration::from_micros;
    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn bucket_ends_above_its_times_and_is_at_most_an_eighth_wide() {
        let day = 24 * 60 * 60 * 1_000_000;
        let mut micros = 0;
        while micros <= day {
            let end = upper(index(MICROS(micros)));
            assert!(end > MICROS(micros), "{micros} {end:?}");
            assert!(end <= MICROS(micros + micros / 8 + 1), "{micros} {end:?}");
            micros = micros * 17 / 16 + 1;
        }
        assert_eq!(index(Duration::MAX), BUCKETS - 1);
        assert!(index(MICROS(day)) < BUCKETS);
        let bounds: Vec<_> = (0..BUCKETS).map(upper).collect();
        assert!(bounds.is_sorted());
    }

    #[test]
    fn quantile_is_known_after_twenty_calls() {
        let mut latencies = Latencies::new();
        for _ in 1..LEAST_CALLS {
            latencies.record(MILLIS(5));
            assert_eq!(latencies.quantile(0.95), None);
        }
        latencies.record(MILLIS(5));
        let known = latencies.quantile(0.95).unwrap();
        assert!(known > MILLIS(5) && known < MILLIS(6), "{known:?}");
    }

    #[test]
    fn quantile_divides_the_times() {
        for (quantile, least, most) in [(0.5, 50, 57), (0.95, 95, 107), (0.99, 99, 112)] {
            let mut latencies = Latencies::new();
            for millis in 1..=100 {
                latencies.record(MILLIS(millis));
            }
            let found = latencies.quantile(quantile).unwrap();
            assert!(found > MILLIS(least), "{quantile} {found:?}");
            assert!(found < MILLIS(most), "{quantile} {found:?}");
        }
    }

    #[test]
    fn service_that_became_slower_is_noticed_and_old_times_are_forgotten() {
        let mut latencies = Latencies::new();
        for _ in 0..100_000 {
            latencies.record(MILLIS(5));
        }
        assert!(latencies.total <= FULL);
        for _ in 0..100 {
            latencies.record(MILLIS(50));
        }
        assert!(latencies.quantile(0.95).unwrap() > MILLIS(50));
        for _ in 0..10 * FULL {
            latencies.record(MILLIS(1));
        }
        assert!(latencies.quantile(0.99).unwrap() < MILLIS(2));
    }
}
