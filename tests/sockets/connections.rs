//! Tests the connections of the transport, on real loopback sockets. Servers write raw bytes where a test is about the
//! wire.

mod bodies;
mod bounds;
#[cfg(target_os = "linux")]
mod descriptors;
mod expect;
mod given_up;
mod http2;
mod identity;
mod idle;
mod options;
mod pings;
mod raw;
mod resets;
mod runtimes;
mod slow;
mod sources;
mod streams;
mod undriven;
#[cfg(unix)]
mod unix;
mod versions;
mod windows;
