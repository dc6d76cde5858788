//! A panic in each callback of the public API, and what becomes of the call.

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
