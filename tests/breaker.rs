//! The breaker over a service that is not ours, on a clock that stands still.

// `cfg(test)` tells clippy that the modules below are tests, too.
#[cfg(test)]
mod breaker {
    mod callers;
    mod handle;
    mod judging;
    mod mock;
    mod patience;
    mod refusal;
}
