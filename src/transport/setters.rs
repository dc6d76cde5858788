//! The setters for the options of connections.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::builder::TransportBuilder;
use super::options::KeepAlive;

impl TransportBuilder {
    /// Sets the maximum number of connections. A call that needs another one waits until one is free or can be closed.
    /// Meanwhile it is in `connect`.
    ///
    /// # Defaults
    ///
    /// A quarter of the file descriptors that the process may have (`RLIMIT_NOFILE`), at most 1,024.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.options.most = Some(connections);
        self
    }

    /// Sets the maximum number of HTTP/1 connections of one destination in use at once. A call that needs another one
    /// waits until one is free. Meanwhile it is in `connect`.
    ///
    /// # Defaults
    ///
    /// 256.
    pub fn max_connections_per_destination(mut self, connections: usize) -> Self {
        self.options.most_leases = Some(connections);
        self
    }

    /// Sets how long a connection may be idle. If a server announces a shorter time (`Keep-Alive: timeout=5`), that
    /// time less one second applies.
    ///
    /// # Defaults
    ///
    /// 50 seconds: load balancers close idle connections after 60.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.options.idle_timeout = timeout;
        self
    }

    /// Speaks HTTP/2 to `http://` URLs, by prior knowledge (RFC 9113 §3.3).
    ///
    /// # Defaults
    ///
    /// Off: HTTP/1.1. A request of version `HTTP/2` to an `http://` URL is then refused at encode.
    pub fn http2_prior_knowledge(mut self, is_known: bool) -> Self {
        self.options.prior_knowledge = is_known;
        self
    }

    /// Speaks HTTP/1.1 only.
    ///
    /// # Defaults
    ///
    /// Off: the server chooses in the TLS handshake.
    pub fn http1_only(mut self, is_only: bool) -> Self {
        self.options.http1_only = is_only;
        self
    }

    /// Writes the names of HTTP/1 header fields in title case (`Content-Length`), for servers that wrongly treat the
    /// case as significant (RFC 9110 §5.1).
    ///
    /// # Defaults
    ///
    /// Off: lower case. HTTP/2 has no other.
    pub fn http1_title_case_headers(mut self, is_title_case: bool) -> Self {
        self.options.title_case = is_title_case;
        self
    }

    /// Sets how many header fields an HTTP/1 response may have. Above that the call fails with
    /// [`Kind::LocalProtocol`](crate::Kind::LocalProtocol). It also applies to the trailers of a chunked body. A value
    /// above 32,768 is refused at [`build`](Self::build).
    ///
    /// # Defaults
    ///
    /// 100.
    pub fn http1_max_headers(mut self, fields: usize) -> Self {
        self.options.http1_headers = Some(fields);
        self
    }

    /// Sets how many bytes the head of an HTTP/1 response may have. Above that the call fails with
    /// [`Kind::LocalProtocol`](crate::Kind::LocalProtocol). It also applies to the trailers of a chunked body. A value
    /// above 417,792 also lets a connection buffer that much.
    ///
    /// # Defaults
    ///
    /// 417,792 (408 KiB), and 16,384 (16 KiB) for trailers.
    pub fn http1_max_header_bytes(mut self, bytes: usize) -> Self {
        self.options.http1_header_bytes = Some(bytes);
        self
    }

    /// Sets the bytes that the header fields of an HTTP/2 response stay below, with 32 more for each field (RFC 9113
    /// §6.5.2). The client announces it to the server. Above that the call fails with
    /// [`Kind::LocalProtocol`](crate::Kind::LocalProtocol), and so does a call with a malformed head: h2 does not
    /// distinguish the two.
    ///
    /// # Defaults
    ///
    /// 65,536 (64 KiB). Above this default a call fails with [`Kind::ProtocolError`](crate::Kind::ProtocolError).
    pub fn http2_max_header_bytes(mut self, bytes: u32) -> Self {
        self.options.http2_header_bytes = Some(bytes);
        self
    }

    /// Sets the local address of connections. Addresses of the other family are reached from any address.
    ///
    /// # Defaults
    ///
    /// The operating system chooses.
    pub fn local_address(mut self, address: IpAddr) -> Self {
        self.options.local_address = Some(address);
        self
    }

    /// Binds connections to a network interface (`SO_BINDTODEVICE`), also those to a proxy. If there is no such
    /// interface when a call dials, the call fails at connect with
    /// [`Kind::LocalResources`](crate::Kind::LocalResources). DNS queries are not bound.
    ///
    /// Linux only: elsewhere [`build`](Self::build) refuses it.
    ///
    /// # Defaults
    ///
    /// The operating system chooses by its routes.
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.options.interface = Some(name.into());
        self
    }

    /// Sets the link of link-local IPv6 addresses (`fe80::/10`): the index of a network interface, as `ip link` shows
    /// it. A URL cannot contain it: the URL standard has no zone ids (`http://[fe80::1%25eth0]/`, RFC 6874). On Linux,
    /// [`interface`](Self::interface) names the link, too.
    ///
    /// # Defaults
    ///
    /// None: the operating system refuses to connect to a link-local address.
    pub fn scope_id(mut self, index: u32) -> Self {
        self.options.scope_id = Some(index);
        self
    }

    /// Makes the kernel probe an idle peer: after a silence of `time`, again after each `interval`, and `retries`
    /// times. `time` and `interval` are whole seconds, because kernels count in seconds.
    ///
    /// It replaces the client's own times for a path that goes dark. A connection is dead when nothing was acknowledged
    /// for `time + retries * interval`, whether it is idle or not. On Linux this is the `TCP_USER_TIMEOUT`, which is
    /// never below the connect timeout, and at most 24 days. HTTP/2 sends its PINGs as before.
    ///
    /// # Defaults
    ///
    /// The times follow from the send and the connect timeout, so that a dark path is reported before a silent service.
    ///
    /// # How people get it wrong
    ///
    /// They set a minute. Then the first-byte timeout ends a request on a dark path, and the error blames the service.
    pub fn tcp_keepalive(mut self, time: Duration, interval: Duration, retries: u32) -> Self {
        self.options.keep_alive = Some(KeepAlive {
            time,
            interval,
            retries,
        });
        self
    }

    /// Sends everything through a unix socket, as Docker and other local services have it. The URL gives scheme, `Host`
    /// and path as usual (`http://docker/v1.47/info`). Its host is not looked up, and no address is dialed. The
    /// connections are pooled and bounded by destination.
    ///
    /// [`Attempt::unix_socket`](crate::timeline::Attempt) names the path. Redirects to other origins go through the
    /// same socket.
    ///
    /// [`build`](Self::build) refuses it together with a resolver, a filter, a proxy, or an option of addresses. It
    /// also refuses it if the operating system has no unix sockets.
    ///
    /// If the process may not open the socket, the call fails at connect with
    /// [`Kind::LocalResources`](crate::Kind::LocalResources).
    ///
    /// # Defaults
    ///
    /// None: TCP.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        let path: PathBuf = path.into();
        self.options.unix_socket = Some(path.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{AddressFilter, StaticResolver};
    use crate::timeout::Timeouts;
    use crate::transport::Transport;

    const SEC: fn(u64) -> Duration = Duration::from_secs;

    fn builder() -> TransportBuilder {
        Transport::builder(Timeouts::new(SEC(10)).unwrap())
    }

    type Set = fn(TransportBuilder) -> TransportBuilder;

    #[test]
    fn value_that_cannot_be_honored_is_refused_by_name() {
        let cases: [(Set, &str); 11] = [
            (|b| b.max_connections(0), "max_connections: 0 is invalid"),
            (
                |b| b.http1_max_headers(0),
                "http1_max_headers: 0 is invalid",
            ),
            (
                |b| b.http1_max_headers(32_769),
                "http1_max_headers: 32769 is invalid: expected 1..=32768",
            ),
            (
                |b| b.http1_max_header_bytes(0),
                "http1_max_header_bytes: 0 is invalid",
            ),
            (
                |b| b.http2_max_header_bytes(0),
                "http2_max_header_bytes: 0 is invalid",
            ),
            (|b| b.scope_id(0), "scope_id: 0 is invalid"),
            (|b| b.interface(""), "interface: \"\" is invalid"),
            (
                |b| b.interface("eth0/1"),
                "interface: \"eth0/1\" is invalid",
            ),
            (
                |b| b.tcp_keepalive(SEC(0), SEC(1), 1),
                "tcp_keepalive.time: 0ns is invalid",
            ),
            (
                |b| b.tcp_keepalive(SEC(1), Duration::from_millis(1_500), 1),
                "tcp_keepalive.interval: 1.5s is invalid",
            ),
            (
                |b| b.tcp_keepalive(SEC(1), SEC(1), 0),
                "tcp_keepalive.retries: 0 is invalid",
            ),
        ];
        for (set, named) in cases {
            let error = set(builder()).build().unwrap_err().to_string();
            assert!(error.starts_with(&format!("transport.{named}")), "{error}");
        }
    }

    #[test]
    fn bound_on_connections_may_be_as_large_as_a_number_can_be() {
        let most = builder().max_connections(usize::MAX);
        let most = most.max_connections_per_destination(usize::MAX);
        let transport = most.build().unwrap();
        let uri = http::Uri::from_static("http://api.test/");
        let destination =
            transport
                .shared
                .destination(&uri, &mut http::HeaderMap::new(), crate::clock::now());
        assert!(destination.is_ok());
    }

    #[test]
    fn client_with_connections_of_its_own_refuses_each_option_by_name() {
        let cases: [(Set, &str); 14] = [
            (|b| b.max_connections(9), "max_connections"),
            (
                |b| b.max_connections_per_destination(9),
                "max_connections_per_destination",
            ),
            (|b| b.idle_timeout(SEC(9)), "idle_timeout"),
            (|b| b.http1_only(true), "http1_only"),
            (|b| b.http2_prior_knowledge(true), "http2_prior_knowledge"),
            (
                |b| b.http1_title_case_headers(true),
                "http1_title_case_headers",
            ),
            (|b| b.http1_max_headers(9), "http1_max_headers"),
            (|b| b.http1_max_header_bytes(9), "http1_max_header_bytes"),
            (|b| b.http2_max_header_bytes(9), "http2_max_header_bytes"),
            (
                |b| b.local_address(IpAddr::from([127, 0, 0, 1])),
                "local_address",
            ),
            (|b| b.interface("lo"), "interface"),
            (|b| b.scope_id(9), "scope_id"),
            (|b| b.tcp_keepalive(SEC(9), SEC(9), 9), "tcp_keepalive"),
            (|b| b.unix_socket("/run/a"), "unix_socket"),
        ];
        for (set, name) in cases {
            let error = set(builder()).build_reqwest().unwrap_err().to_string();
            assert!(error.starts_with(&format!("transport.{name}: ")), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn unix_socket_has_a_path_and_no_address() {
        let cases: [(Set, &str); 8] = [
            (
                |b| b.local_address([127, 0, 0, 1].into()),
                "transport.local_address",
            ),
            (|b| b.interface("lo"), "transport.interface"),
            (|b| b.scope_id(1), "transport.scope_id"),
            (
                |b| b.tcp_keepalive(SEC(1), SEC(1), 1),
                "transport.tcp_keepalive",
            ),
            (|b| b.resolver(StaticResolver::new()), "transport.resolver"),
            (
                |b| b.filter(AddressFilter::public_only()),
                "transport.filter",
            ),
            (|b| b.proxy("http://127.0.0.1:9"), "transport.proxy"),
            (
                |b| b.unix_socket(""),
                "transport.unix_socket: \"\" is invalid",
            ),
        ];
        for (set, path) in cases {
            let built = set(builder().unix_socket("/run/a")).build();
            let error = built.unwrap_err().to_string();
            assert!(error.starts_with(path), "{error}");
        }
        builder().unix_socket("/run/a").build().unwrap();
    }
}
