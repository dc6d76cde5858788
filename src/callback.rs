//! Runs callbacks of the user behind `catch_unwind`. A panic in a callback has one of four consequences.
//!
//! | rule | a panic | function |
//! |---|---|---|
//! | observer | is ignored: the call continues | [`observe`] |
//! | absent | counts as if there were no callback, or as if it returned `None` | [`ask`] |
//! | permission | counts as `false` | [`permits`] |
//! | required | fails the action that needs the callback | [`require`] |
//!
//! Each callback is wrapped where it is stored; docs/callbacks.md lists them all. The first panic of a callback is
//! logged without its message. The message may hold secrets, and the panic hook of the process has already shown it.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// The API function that received a callback.
#[derive(Debug)]
pub(crate) struct Site {
    name: &'static str,
    logged: AtomicBool,
}

impl Site {
    /// Creates a site with the name that users know: `DeadlineLayer::on_complete`.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            logged: AtomicBool::new(false),
        }
    }

    fn panicked(&self) -> Panicked {
        if !self.logged.swap(true, Ordering::Relaxed) {
            let callback = self.name;
            // A subscriber may panic too, for example on a thread that is ending, without its thread-locals.
            let _ = caught(|| {
                tracing::event!(
                    target: "sevenhops",
                    tracing::Level::ERROR,
                    { "sevenhops.callback" = callback },
                    "callback panicked"
                );
            });
        }
        Panicked(self.name)
    }
}

/// A callback panicked. Its message is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked(&'static str);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the callback {} panicked", self.0)
    }
}

impl Error for Panicked {}

/// Calls an observer.
pub(crate) fn observe(site: &Site, tell: impl FnOnce()) {
    let _ = require(site, tell);
}

/// Calls a callback whose result is optional for the call.
pub(crate) fn ask<T>(site: &Site, ask: impl FnOnce() -> Option<T>) -> Option<T> {
    require(site, ask).ok().flatten()
}

/// Calls a callback that permits something.
pub(crate) fn permits(site: &Site, ask: impl FnOnce() -> bool) -> bool {
    require(site, ask).unwrap_or(false)
}

/// Calls a callback whose result the call needs.
pub(crate) fn require<T>(site: &Site, ask: impl FnOnce() -> T) -> Result<T, Panicked> {
    caught(ask).ok_or_else(|| site.panicked())
}

/// Only the user's own state can be left broken by a panic, as with any other `catch_unwind`.
fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // Dropping the payload may panic again. A second payload is leaked.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(again);
            }
            None
        }
    }
}

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(Panicked: super::Panicked("RetryLayer::retry_if"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site::new("Test::site")
    }

    #[test]
    fn panic_has_the_consequence_of_its_rule() {
        let site = site();
        observe(&site, || panic!("observer"));
        assert_eq!(ask::<u8>(&site, || panic!("absent")), None);
        assert!(!permits(&site, || panic!("permission")));
        let failed = require::<u8>(&site, || panic!("required")).unwrap_err();
        assert_eq!(failed.to_string(), "the callback Test::site panicked");
    }

    #[test]
    fn result_of_a_callback_is_used() {
        let site = site();
        assert_eq!(ask(&site, || Some(1)), Some(1));
        assert!(permits(&site, || true));
        assert_eq!(require(&site, || 1), Ok(1));
        assert!(!site.logged.load(Ordering::Relaxed));
    }

    #[test]
    fn payload_of_a_panic_may_panic_when_it_is_dropped() {
        struct Nasty;
        impl Drop for Nasty {
            fn drop(&mut self) {
                std::panic::panic_any(1);
            }
        }
        observe(&site(), || std::panic::panic_any(Nasty));
    }

    #[test]
    fn panic_inside_the_drop_of_an_unwinding_thread_does_not_abort() {
        struct Told(Site);
        impl Drop for Told {
            fn drop(&mut self) {
                observe(&self.0, || panic!("while unwinding"));
            }
        }
        let thread = std::thread::spawn(|| {
            let _told = Told(site());
            panic!("first");
        });
        assert!(thread.join().is_err());
    }
}
