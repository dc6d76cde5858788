//! Tests a panic in each callback of the public API, and the result of the call.

#[cfg(test)]
mod listen;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod net;

#[cfg(test)]
mod callbacks {
    mod calls;
    mod client;
    mod listed;
    mod nested;
    mod told;
}
