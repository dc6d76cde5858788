//! Tests the breaker over a foreign service, on a paused clock.

// `cfg(test)` tells clippy that the modules below are tests, too.
mod callers;
mod handle;
mod judging;
mod mock;
mod patience;
mod refusal;
