//! Tests fault injection: faults are diagnosed like real failures, with the true effect.

// `cfg(test)` tells clippy that the modules below are tests, too.
#[cfg(test)]
#[path = "listen/mod.rs"]
mod listen;
#[cfg(test)]
mod chaos {
    mod befalling;
    mod luck;
    mod telling;
    mod wire;
}
#[cfg(test)]
mod mock;
#[cfg(test)]
mod net;
