//! Tests a panic in each callback of the public API, and the result of the call.

mod calls;
mod client;
mod listed;
mod log;
mod nested;
