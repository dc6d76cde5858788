//! Luck for jitter. Nothing that has to be unique comes from here: an idempotency key comes from the operating
//! system.

use std::cell::Cell;

/// A number in `[0, 1)`.
///
/// A fork copies the generator of its thread: workers would then wait the same times and retry all at once. So a
/// process that was forked begins anew. A generator that was seeded by hand stays as it is otherwise.
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
    /// Which process drew last on this thread; 0 is none.
    static PROCESS: Cell<u32> = const { Cell::new(0) };
}
