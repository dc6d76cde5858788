//! Whether a span can still be entered on this thread: while its thread-locals are destroyed, that would panic.

use std::cell::Cell;

/// What is known of this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No span of ours was entered on it, so that it cannot be told whether it ends.
    Unknown,
    Alive,
    /// Its thread-locals go.
    Gone,
}

/// Watches this thread from now on. The thread-locals of the span that was just entered are made before the
/// one that watches, and so destroyed after it.
pub(super) fn watch() {
    if STATE.get() == State::Unknown {
        let _ = THREAD.try_with(|_| STATE.set(State::Alive));
    }
}

/// Whether the thread-locals that an entered span needs are there for sure.
pub(super) fn is_alive() -> bool {
    STATE.get() == State::Alive
}

/// Says when its thread's thread-locals go.
struct Thread;

impl Drop for Thread {
    fn drop(&mut self) {
        STATE.set(State::Gone);
    }
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::Unknown) };
    static THREAD: Thread = const { Thread };
}
