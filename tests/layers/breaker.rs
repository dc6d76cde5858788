//! Tests the breaker over a foreign service, on a paused clock.

// `cfg(test)` tells clippy that the modules below are tests, too.
mod callers;
mod handle;
mod mock;
mod rejections;
mod short_deadlines;
mod verdicts;
