//! The connections: HTTP/1 and HTTP/2 over a stream, and the state that is kept about them.

pub(super) mod exchange;
pub(super) mod expect;
pub(super) mod head;
pub(super) mod http1;
pub(super) mod http2;
mod in_flight;
pub(super) mod incoming;
pub(super) mod lane;
pub(super) mod life;
pub(super) mod socket;
pub(super) mod stream;
mod sync;
pub(super) mod trailers;
mod upload;
pub(super) mod watch;

#[cfg(test)]
mod lane_tests;

#[cfg(test)]
mod http1_tests;
#[cfg(test)]
mod pair_tests;
