//! Tests operations: the policies of a call around a closure, on a paused clock.

// `cfg(test)` tells clippy that the modules below are tests, too.
mod calls;
mod configs;
mod policies;
mod reporting;
mod retrying;
mod work;
