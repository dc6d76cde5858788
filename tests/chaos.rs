//! What befalls requests on purpose: named like the real thing, true in its effect, and nothing else.

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
