//! Tests operations: the policies of a call around a closure, on a paused clock.

#[cfg(test)]
mod mock;

// `cfg(test)` tells clippy that the modules below are tests, too.
#[cfg(test)]
mod operation {
    mod calls;
    mod guarding;
    mod retrying;
    mod telling;
    mod work;
}
