use std::fmt;

/// The kind of a failure. The pair of hop and kind identifies it: [`errors`](crate::errors) has an entry for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request cannot be encoded: its URL, a header or its body is invalid.
    InvalidRequest,
    /// The name does not exist (NXDOMAIN).
    NotFound,
    /// The name exists and has no address.
    NoRecords,
    /// The name servers failed (SERVFAIL, REFUSED).
    ServerFailure,
    /// The filter rejects every address of the name or the URL.
    Filtered,
    /// A timeout expired. At the gateway hop, it is the gateway's own timeout.
    Timeout,
    /// No process listens at the address.
    Refused,
    /// The network has no route to the address.
    Unreachable,
    /// The path went dark: the peer does not acknowledge the bytes sent.
    Unacknowledged,
    /// The peer broke the connection or the stream.
    Reset,
    /// The peer closed the connection.
    Closed,
    /// The certificate has expired, or is not valid yet.
    CertificateExpired,
    /// The certificate is for another name.
    CertificateWrongName,
    /// No trusted authority signed the certificate.
    CertificateUnknownIssuer,
    /// The certificate is invalid for another reason.
    CertificateInvalid,
    /// The peer ended the TLS session with an alert.
    Alert,
    /// The peer does not speak the protocol.
    ProtocolError,
    /// The proxy refused the tunnel.
    ProxyRefused,
    /// The proxy does not allow or support the tunnel (for example 403 to CONNECT).
    ProxyDenied,
    /// The proxy requires credentials.
    ProxyUnauthorized,
    /// The peer declares that it did not begin to process the request.
    Unprocessed,
    /// The gateway got no usable response (502).
    BadGateway,
    /// The service is not available now (503).
    Unavailable,
    /// The service failed (500 and other 5xx).
    ServerError,
    /// The service received too many requests (429).
    Throttled,
    /// The service does not allow the request (401, 403).
    Unauthorized,
    /// The resource is not in the state that the request requires (412).
    PreconditionFailed,
    /// The server requires the request to be conditional (428).
    PreconditionRequired,
    /// The service does not accept the request (other 4xx).
    ClientError,
    /// The server still works on the first request with this idempotency key (409 to a key that it
    /// honors).
    InProgress,
    /// The idempotency key was used with another request (422 to a key that the server honors).
    KeyReused,
    /// The idempotency key is older than the server remembers keys.
    KeyExpired,
    /// The breaker is open.
    CircuitOpen,
    /// The throttle rejects a part of the attempts, because the destination rejects too many.
    ClientThrottled,
    /// As many attempts as the concurrency limit allows are in flight.
    ConcurrencyLimit,
    /// The rate limit has no slot for the attempt in time.
    RateLimit,
    /// A redirect leads back to a URL that the call has visited.
    RedirectLoop,
    /// The call was redirected more often than the config allows.
    TooManyRedirects,
    /// A redirect that the client does not follow: from https to http, to a scheme other than HTTP, or without a usable
    /// target.
    RedirectRefused,
    /// The body ended before its announced length.
    Incomplete,
    /// The body is longer than the caller accepts.
    TooLarge,
    /// The body is invalid: it is not the expected JSON, or its content-coding is corrupt.
    Malformed,
    /// The source of the request body failed.
    RequestBody,
    /// This process lacks a resource: descriptors, ports, buffers, memory, a permission for its own sockets, or the
    /// runtime that drives the connection. The error shows the operating system's text.
    LocalResources,
    /// No connection was free, and the client's limit allows no new one.
    ConnectionLimit,
    /// A limit of the client's own HTTP stack was reached: the number of reset streams, or the length of a head.
    LocalProtocol,
    /// None of the other kinds: see `source()`.
    Other,
}

impl Kind {
    /// Returns its name in errors and timelines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid request",
            Self::NotFound => "not found",
            Self::NoRecords => "no records",
            Self::ServerFailure => "server failure",
            Self::Filtered => "refused by the filter",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Unacknowledged => "unacknowledged",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::CertificateExpired => "certificate expired",
            Self::CertificateWrongName => "certificate for another name",
            Self::CertificateUnknownIssuer => "certificate of unknown issuer",
            Self::CertificateInvalid => "certificate not acceptable",
            Self::Alert => "alert",
            Self::ProtocolError => "protocol error",
            Self::ProxyRefused => "refused by the proxy",
            Self::ProxyDenied => "denied by the proxy",
            Self::ProxyUnauthorized => "proxy wants credentials",
            Self::Unprocessed => "refused, unprocessed",
            Self::BadGateway => "bad gateway",
            Self::Unavailable => "unavailable",
            Self::ServerError => "server error",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::PreconditionFailed => "precondition failed",
            Self::PreconditionRequired => "precondition required",
            Self::ClientError => "client error",
            Self::InProgress => "still in progress",
            Self::KeyReused => "key used with another request",
            Self::KeyExpired => "key expired",
            Self::CircuitOpen => "circuit open",
            Self::ClientThrottled => "destination overloaded",
            Self::ConcurrencyLimit => "too many in flight",
            Self::RateLimit => "rate exceeded",
            Self::RedirectLoop => "redirect loop",
            Self::TooManyRedirects => "too many redirects",
            Self::RedirectRefused => "redirect refused",
            Self::Incomplete => "incomplete",
            Self::TooLarge => "too large",
            Self::Malformed => "malformed",
            Self::RequestBody => "request body failed",
            Self::LocalResources => "local resources",
            Self::ConnectionLimit => "connection limit",
            Self::LocalProtocol => "local protocol",
            Self::Other => "other",
        }
    }
}

impl Kind {
    /// Returns whether this process failed, and not the destination, its name or the network.
    pub(crate) const fn is_local(self) -> bool {
        matches!(
            self,
            Self::LocalResources | Self::LocalProtocol | Self::ConnectionLimit
        )
    }

    /// Returns whether a policy rejected the call.
    pub(crate) const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::CircuitOpen
                | Self::ClientThrottled
                | Self::ConcurrencyLimit
                | Self::RateLimit
                | Self::KeyExpired
                | Self::RedirectLoop
                | Self::TooManyRedirects
                | Self::RedirectRefused
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The party that can fix a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The client: it needs another request, other credentials, another config or more resources.
    Client,
    /// The network: names, routes, proxies, gateways, or a broken connection.
    Network,
    /// The server: the service, its certificate, its responses.
    Server,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Network => "network",
            Self::Server => "server",
        })
    }
}
