//! Tracks whether a span can still be entered on this thread: while its thread-locals are destroyed, entering would
//! panic.

use std::cell::Cell;

/// The state of this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ThreadState {
    /// No span of this crate was entered on the thread, so its end would not be noticed.
    Unknown,
    Alive,
    /// Its thread-locals are being destroyed.
    Gone,
}

/// Watches this thread from now on. The thread-locals of the span that was just entered are created before the watching
/// one, and are therefore destroyed after it.
pub(super) fn watch() {
    if STATE.get() == ThreadState::Unknown {
        let _ = THREAD.try_with(|_| STATE.set(ThreadState::Alive));
    }
}

/// Returns whether the thread-locals that an entered span needs certainly exist.
pub(super) fn is_alive() -> bool {
    STATE.get() == ThreadState::Alive
}

/// Reports the destruction of its thread's thread-locals.
struct Thread;

impl Drop for Thread {
    fn drop(&mut self) {
        STATE.set(ThreadState::Gone);
    }
}

thread_local! {
    static STATE: Cell<ThreadState> = const { Cell::new(ThreadState::Unknown) };
    static THREAD: Thread = const { Thread };
}
