//! Tests fault injection: faults are diagnosed like real failures, with the true effect.

// `cfg(test)` tells clippy that the modules below are tests, too.
mod faults;
mod rates;
mod reporting;
mod wire;
