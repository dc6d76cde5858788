//! Random numbers for jitter. Unique values must not come from here: an idempotency key comes from the operating
//! system.

use std::cell::Cell;

/// Returns a number in `[0, 1)`.
///
/// A fork copies the generator of its thread. Forked workers would then wait the same times and retry together. So the
/// generator is seeded again after a fork. Without a fork, a manually set seed is kept.
pub(crate) fn luck() -> f64 {
    let process = std::process::id();
    let before = PROCESS.replace(process);
    if before != 0 && before != process {
        let mut seed = [0; 8];
        let _ = getrandom::fill(&mut seed);
        fastrand::seed(u64::from_ne_bytes(seed) ^ u64::from(process));
    }
    fastrand::f64()
}

thread_local! {
    /// The process that drew last on this thread; 0 means none.
    static PROCESS: Cell<u32> = const { Cell::new(0) };
}
