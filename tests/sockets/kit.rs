//! Tests each fault of the kit from the view of a client on a socket.

// `cfg(test)` tells clippy that the modules below are tests, too.
mod client;

mod assertions;
mod connections;
mod http1;
mod http2;
mod ports;
mod proxy;
mod recorder;
mod tls;
