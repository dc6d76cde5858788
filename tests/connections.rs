//! Tests the connections of the transport, on real loopback sockets. Servers write raw bytes where a test is about the
//! wire.

#[cfg(test)]
mod net;

#[cfg(test)]
mod connections {
    mod bodies;
    mod bounds;
    #[cfg(target_os = "linux")]
    mod descriptors;
    mod given_up;
    mod http2;
    mod identity;
    mod idle;
    mod raw;
    mod resets;
    mod runtimes;
    mod versions;
    mod windows;
}
