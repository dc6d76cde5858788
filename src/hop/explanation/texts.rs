//! The meaning of each failure, and the action to take. The page of errors has the same texts.

use super::Text;
use crate::hop::{Hop, Kind};

/// The failures at a hop, in the order of the page.
#[rustfmt::skip] // a table
pub(super) const HOPS: &[Text] = {
    use Hop::{Connect, Decode, Dns, Encode, Gateway, Receive, Send, Server, Tls};
    &[
        row(&[Encode], &[Kind::InvalidRequest],
            "The request could not be encoded: its URL, a header, an option or its body is invalid.",
            "Read the cause and correct the calling code. A retry fails in the same way."),
        row(&[Dns], &[Kind::NotFound],
            "The name does not exist: an authority answered NXDOMAIN.",
            "Check the spelling of the host and the search domains. Ask the name servers by hand (`dig NAME`). If the \
             record was deleted by mistake, restore it: the client asks again once the negative TTL is over."),
        row(&[Dns], &[Kind::NoRecords],
            "The name exists, but it has no address record.",
            "Ask for A and AAAA by hand. The name may have records of other types only, or be the name of the zone \
             itself."),
        row(&[Dns], &[Kind::ServerFailure],
            "Every name server failed (SERVFAIL, REFUSED), or was not responsible for the name.",
            "Check the name servers of this host and those of the zone. A broken DNSSEC signature appears as SERVFAIL."),
        row(&[Dns], &[Kind::Timeout],
            "No name server responded within the dns timeout.",
            "Check that this host reaches its name servers on port 53 (UDP and TCP). In a cluster, look at the load of \
             its DNS service."),
        row(&[Dns], &[Kind::Unreachable],
            "No name server could be reached from this host.",
            "Check `/etc/resolv.conf`, the route to the name servers, and the firewall."),
        row(&[Dns], &[Kind::ProtocolError],
            "A name server sent a response that is invalid, or that does not fit the question.",
            "Ask each name server by hand. A middlebox may change DNS messages."),
        row(&[Dns], &[Kind::Other],
            "The lookup failed for another reason.",
            "Read the chain of causes. A resolver of your own, or the system's, has the details."),
        row(&[Dns], &[Kind::Filtered],
            "The address filter refused every address of the name or the URL.",
            "If the destination is legitimate, allow its range. If the URL came from a user, it may be an attack on your \
             network."),
        row(&[Dns, Connect, Tls, Send, Server, Receive], &[Kind::LocalResources],
            "This process lacks a resource: file descriptors, ports, buffers, a permission for its sockets, or its \
             runtime.",
            "Read the system's text in the error. Raise the limit (`ulimit -n`, the range of local ports), or look for a \
             leak of connections. The service is not at fault, and its circuit does not count this."),
        row(&[Connect], &[Kind::Refused],
            "The host answered that no process listens on the port.",
            "Check that the service runs and listens on this address and port. During a deployment, this failure is \
             transient."),
        row(&[Connect], &[Kind::Timeout],
            "The connection was not made in time: packets were dropped on the way.",
            "Look at firewalls and security groups, and at the listen queue of the service. A host that is gone also \
             causes this error."),
        row(&[Connect], &[Kind::Unreachable],
            "The network said that there is no route to the address.",
            "Check routes, the VPN, and whether the host has IPv6 if the address is of that kind."),
        row(&[Connect], &[Kind::Reset, Kind::Closed],
            "The peer closed the connection during its setup. Reset and closed differ only in how the system reported \
             it.",
            "Look for a proxy or a load balancer that has no healthy backend. If the call goes through a proxy, read the \
             proxy's log."),
        row(&[Connect], &[Kind::ProxyRefused],
            "The proxy refused or could not open the tunnel. The error shows its status.",
            "Look at the proxy's log. After a 502 or 503 the destination is not reachable from the proxy."),
        row(&[Connect], &[Kind::ConnectionLimit],
            "No connection was free, and the bound of connections did not allow another one.",
            "Raise `max_connections_per_destination` or `max_connections`, or make fewer calls at once. Look for \
             responses that are kept without being read."),
        row(&[Connect], &[Kind::ProxyDenied],
            "The proxy does not allow or support this tunnel: it answered CONNECT with 403, another permanent 4xx, a \
             3xx or 501. A SOCKS proxy says so in its reply. The error shows the reason.",
            "Check that the URL is that of a proxy. Ask for the destination to be allowed, or add it to `NO_PROXY` if it \
             can be reached directly."),
        row(&[Connect], &[Kind::ProxyUnauthorized],
            "The proxy requires credentials (407 to CONNECT), or rejected those it got.",
            "Set the user and the password in the URL of the proxy."),
        row(&[Connect], &[Kind::ProtocolError],
            "The https proxy does not speak TLS, or not in a way that the client understands.",
            "Check scheme and port in the URL of the proxy: many proxies are reached with `http://`."),
        row(&[Connect], &[Kind::CertificateExpired, Kind::CertificateWrongName, Kind::CertificateUnknownIssuer,
                Kind::CertificateInvalid],
            "The certificate of the https proxy is not acceptable. The kind and the cause name the reason.",
            "Check the URL of the proxy, its certificate, and the authorities that the client trusts."),
        row(&[Connect], &[Kind::Alert],
            "The https proxy ended the TLS handshake with an alert. The error names it.",
            "`handshake_failure` and `protocol_version`: client and proxy have no version or cipher in common. \
             `certificate_required`: the proxy requires a client certificate, and the client shows none to a proxy."),
        row(&[Connect], &[Kind::Other],
            "The connection failed for another reason.",
            "Read the chain of causes."),
        row(&[Tls], &[Kind::Timeout],
            "The TLS handshake did not end in time.",
            "Look at the load of the server or its load balancer. A port that does not speak TLS may also send nothing."),
        row(&[Tls], &[Kind::ProtocolError],
            "The peer does not speak TLS, or not in a way that the client understands.",
            "Check scheme and port: a plain HTTP port often causes this error. Check that the server has TLS 1.2 or \
             later."),
        row(&[Tls], &[Kind::CertificateExpired],
            "The server's certificate has expired, or is not valid yet.",
            "Renew the certificate. If it is valid, check the clock of this host."),
        row(&[Tls], &[Kind::CertificateWrongName],
            "The server's certificate is for another name.",
            "Check the host of the URL. The name may resolve to a wrong server, or the server may lack the right \
             certificate."),
        row(&[Tls], &[Kind::CertificateUnknownIssuer],
            "No authority that the client trusts signed the server's certificate.",
            "Install the CA certificates of the system, or add your own authority to the client's TLS configuration. The \
             server may also fail to send its intermediate certificate."),
        row(&[Tls], &[Kind::CertificateInvalid],
            "The server's certificate is not acceptable. The cause names the reason.",
            "Read the cause: a wrong purpose, a revoked or a malformed certificate needs a new one."),
        row(&[Tls], &[Kind::Alert],
            "The server ended the handshake with an alert. The error names it.",
            "`handshake_failure` and `protocol_version`: client and server have no version or cipher in common. \
             `certificate_required` and `bad_certificate`: the server requires a client certificate, or rejects the one \
             it got."),
        row(&[Tls], &[Kind::Reset, Kind::Closed],
            "The peer ended the connection during the handshake. Reset and closed differ only in how the system \
             reported it.",
            "Look at the load balancer, and at middleboxes that block a server name."),
        row(&[Tls, Send, Server, Receive], &[Kind::Unacknowledged],
            "The peer acknowledged none of the bytes for too long: the network path failed silently after the connection \
             was set up.",
            "Look at the network between this host and the peer: a firewall that dropped its state, a failed link, a host \
             that is gone. If it happens after idle times, shorten the idle timeout."),
        row(&[Tls], &[Kind::Other],
            "The handshake failed for another reason.",
            "Read the chain of causes. If it says that there are no root certificates, install them or set your own."),
        row(&[Send], &[Kind::Timeout],
            "The request was not sent in time: the server stopped reading.",
            "Look at the service: it may be overloaded, or refuse large bodies without saying so. For slow uploads raise \
             the send timeout."),
        row(&[Send], &[Kind::Reset, Kind::Closed],
            "The server closed the connection while the request was being sent. The kind is closed if no connection \
             took the request yet, else reset.",
            "Look for a limit on the size of the body, and for a server that restarts. If the effect is possible, ask \
             the service before you send again without an idempotency key."),
        row(&[Send], &[Kind::Unprocessed],
            "The server refused the HTTP/2 stream before it processed the request.",
            "A retry is safe. If it happens often, the server is overloaded or restarts: look there."),
        row(&[Send], &[Kind::ProtocolError],
            "The server violated the HTTP protocol while the request was being sent.",
            "Check that the port speaks HTTP, and the version that the client chose."),
        row(&[Send], &[Kind::RequestBody],
            "The source of the request body failed.",
            "Read the cause: it is the error of your own stream. The server may have received a part of the body."),
        row(&[Send], &[Kind::Other],
            "The request was not sent for another reason.",
            "Read the chain of causes."),
        row(&[Send], &[Kind::Alert],
            "The server ended TLS with an alert after the first bytes of the request were sent.",
            "Read the alert's name. The effect is not known, because some servers send alerts after the work."),
        row(&[Send, Server, Receive], &[Kind::LocalProtocol],
            "The client's own HTTP stack reached a limit: of reset streams, or of the size of a response head.",
            "Read the cause. If the service sends very large heads, raise the limit. If many responses are dropped \
             half-read, read them to their end."),
        row(&[Gateway], &[Kind::ProxyUnauthorized],
            "A proxy requires credentials (407).",
            "Set the user and the password in the URL of the proxy."),
        row(&[Gateway], &[Kind::BadGateway],
            "A gateway got no usable response from the service (502).",
            "Look at the service behind the gateway: it may have crashed during the request."),
        row(&[Gateway], &[Kind::Timeout],
            "A gateway waited too long for the service (504).",
            "Look at the latency of the service. It may still do the work after the gateway gave up."),
        row(&[Gateway], &[Kind::Unavailable],
            "A gateway has no available service behind it (503).",
            "Look at the health checks behind the gateway. `Error::retry_after` shows when it asks for a retry."),
        row(&[Gateway], &[Kind::ServerError],
            "A gateway failed (5xx).",
            "Look at the gateway's log. The error shows the status, and the details that the gateway reports."),
        row(&[Gateway], &[Kind::Throttled],
            "A gateway limits the rate of this client (429).",
            "Send fewer requests, or ask for a higher limit. `Error::retry_after` shows when to retry."),
        row(&[Gateway], &[Kind::Unauthorized],
            "A gateway does not allow the request (401, 403).",
            "Check credentials and permissions, and the rules of a web application firewall."),
        row(&[Gateway], &[Kind::PreconditionFailed],
            "A gateway did not carry out the request, because the resource has changed (412). The request was \
             conditional: `If-Match`, `If-Unmodified-Since` or `If-None-Match`.",
            "Read the resource again, and decide again. If an earlier attempt of the call may have been carried out, the \
             effect of the call is possible: the change may be its own. GET the resource and compare it with what you \
             wrote."),
        row(&[Gateway], &[Kind::PreconditionRequired],
            "A gateway carries out this request only if it is conditional (428).",
            "Read the resource first, and write with `RequestBuilder::if_unchanged(&response)`."),
        row(&[Gateway], &[Kind::ClientError],
            "A gateway rejected the request (another 4xx).",
            "Read the status and the body. After 408 and 499 the service may have done the work."),
        row(&[Gateway, Server], &[Kind::RedirectRefused],
            "The response is a redirect that was not followed. The error says why.",
            "Call the new URL directly, or allow the redirect if it is legitimate. The client follows an upgrade to https \
             automatically."),
        row(&[Gateway], &[Kind::ProtocolError],
            "A gateway says that the service broke the protocol (`Proxy-Status`).",
            "Look at the service behind the gateway, and at the protocol between the two."),
        row(&[Server], &[Kind::Timeout],
            "The request was sent, and no response came in time.",
            "Ask the service whether it did the work, or retry with the same idempotency key. Then look at its latency."),
        row(&[Server], &[Kind::Closed, Kind::Reset],
            "The request was sent, and no response came. The server closed the connection (closed), or reset the \
             HTTP/2 stream (reset).",
            "Look for a crash or a restart of the service. On a reused connection, the idle timeout of the server may be \
             shorter than the client's."),
        row(&[Server], &[Kind::ProtocolError],
            "The response is not valid HTTP.",
            "Check that the port speaks HTTP. The cause names the violation, for example two ways to delimit the body."),
        row(&[Server], &[Kind::Unprocessed],
            "The server says that it did not process the request (REFUSED_STREAM, or GOAWAY).",
            "A retry is safe. If it happens often, the server is overloaded or restarts: look there."),
        row(&[Server], &[Kind::ServerError],
            "The service failed (500 or another 5xx).",
            "Look at the log of the service. Before you send a request again that is not idempotent, ask the service."),
        row(&[Server], &[Kind::Unavailable],
            "The service is not available (503).",
            "It may be overloaded or in maintenance. `Error::retry_after` shows when it asks for a retry."),
        row(&[Server], &[Kind::Throttled],
            "The service limits the rate of this client (429).",
            "Send fewer requests, or ask for a higher limit. `Error::retry_after` shows when to retry."),
        row(&[Server], &[Kind::Unauthorized],
            "The service does not allow the request (401, 403).",
            "Check that the credentials are valid, not expired, and allowed to do this."),
        row(&[Server], &[Kind::PreconditionFailed],
            "The service did not carry out the request, because the resource has changed (412). The request was \
             conditional: `If-Match`, `If-Unmodified-Since` or `If-None-Match`.",
            "Read the resource again, and decide again. If an earlier attempt of the call may have been carried out, the \
             effect of the call is possible: the change may be its own. GET the resource and compare it with what you \
             wrote."),
        row(&[Server], &[Kind::PreconditionRequired],
            "The service carries out this request only if it is conditional (428).",
            "Read the resource first, and write with `RequestBuilder::if_unchanged(&response)`."),
        row(&[Server], &[Kind::ClientError],
            "The service does not accept the request (another 4xx).",
            "Read the status and `Error::body`. Correct the request. A 404 or 410 after a lost response may be the result \
             of your own first attempt."),
        row(&[Server], &[Kind::InProgress],
            "The service is still processing the first request with this idempotency key (409).",
            "Wait, then send the same request with the same key."),
        row(&[Server], &[Kind::KeyReused],
            "The idempotency key was used with another request before (422).",
            "Use a new key for each logical operation. The earlier request with this key may have succeeded: look it up."),
        row(&[Server], &[Kind::Other],
            "The request was sent, and the wait for the response failed for another reason.",
            "Read the chain of causes."),
        row(&[Server], &[Kind::Alert],
            "The request was sent, and the server ended TLS with an alert.",
            "Read the alert's name. The effect is not known, because some servers send alerts after the work."),
        row(&[Receive], &[Kind::Timeout],
            "The body of the response stalled.",
            "The work is done if the status was 2xx: fetch the result instead of sending a write again. For slow streams \
             raise the body-idle timeout."),
        row(&[Receive], &[Kind::Incomplete, Kind::Reset],
            "The body of the response broke off before its end.",
            "The work is done if the status was 2xx: fetch the result instead of sending a write again. Look for a proxy \
             that cuts long responses."),
        row(&[Receive], &[Kind::ProtocolError],
            "The framing or the content coding of the body is invalid.",
            "Look at the server or a proxy that compresses or rewrites bodies."),
        row(&[Receive], &[Kind::TooLarge],
            "The body is longer than the caller allows.",
            "Raise the body limit, ask for less, or read the body as a stream."),
        row(&[Receive], &[Kind::Other],
            "The body could not be received for another reason.",
            "Read the chain of causes."),
        row(&[Receive], &[Kind::Alert],
            "The server ended TLS with an alert before the end of the body.",
            "Treat it as a body that broke off. A bad record points at a middlebox that changes bytes."),
        row(&[Decode], &[Kind::Malformed],
            "The response is complete, but its body is not what it claims to be.",
            "Compare the body with the type that you expect. An HTML page of a proxy or a login form often causes this \
             error."),
        row(&[Decode], &[Kind::TooLarge],
            "The decoded body is longer than the caller allows.",
            "Raise the body limit, or read the body as a stream. A small compressed body that grows this much may be an \
             attack."),
    ]
};

/// The rejections by a policy. They have no hop.
#[rustfmt::skip] // a table
pub(super) const REJECTIONS: &[Text] = &[
    row(&[], &[Kind::CircuitOpen],
        "The circuit breaker is open: the destination failed too often recently.",
        "Look at the failures that opened it: the error has the last one. The circuit probes the destination \
         automatically."),
    row(&[], &[Kind::ClientThrottled],
        "The destination rejects many requests as overload. The throttle holds back a part of them. If the call could \
         have been retried, it asked the throttle several times.",
        "Send less. Try again later: `retry_after` has the hint of the server, if there was one."),
    row(&[], &[Kind::ConcurrencyLimit],
        "The concurrency limit of the destination is reached, and the call cannot wait for a permit. The error has the \
         reason: a full queue, a wait that is too long, or a more important call.",
        "Send less at a time. If the destination can take more, raise the limit or the queue. Give the important calls \
         `Priority::Critical`."),
    row(&[], &[Kind::RateLimit],
        "The rate limit of the destination has no slot in time. `retry_after` has the time until the next slot.",
        "Send more slowly, or give the calls a longer deadline. If the destination allows more, raise the rate."),
    row(&[], &[Kind::KeyExpired],
        "The idempotency key is older than the server remembers keys.",
        "An earlier process may have sent the request. Look up the result before you send again."),
    row(&[], &[Kind::RedirectLoop],
        "A redirect leads back to a URL of this call.",
        "Open the URL by hand. Services that set a cookie first often redirect like this."),
    row(&[], &[Kind::TooManyRedirects],
        "The call was redirected more often than the limit allows.",
        "Call the last URL directly, or raise the limit."),
    row(&[], &[Kind::RedirectRefused],
        "A redirect leads to a URL that the client must not follow: from https to http, or to another scheme. It is \
         also refused if it leads to another origin, and the request may already have been processed.",
        "Call the new URL directly if it is legitimate. The error names it."),
    row(&[], &[Kind::Timeout],
        "The deadline of the call passed before an attempt began.",
        "Look at the timeline for the waits before it. If the caller passed its own deadline on, it may have left too \
         little time."),
];

/// The failures of an operation in which no client saw a hop.
#[rustfmt::skip] // a table
pub(super) const OPERATIONS: &[Text] = &[
    row(&[], &[Kind::Timeout],
        "The operation did not end within its deadline.",
        "Look at the timeline for its attempts. Ask the service whether it did the work before you do it again."),
];

/// The failure of an operation's work, of any kind without a row of its own.
pub(super) const WORK: Text = row(
    &[],
    &[],
    "The work of the operation returned an error, and no client of this crate observed a hop in it. The kind is read \
     from the work's error.",
    "Read the chain of causes: it is the error of your own work or of its SDK.",
);

/// The failure of an inner service that was not ready.
pub(super) const UNREADY: Text = row(
    &[],
    &[],
    "The inner service was not ready: its `poll_ready` failed.",
    "Read the chain of causes: it is the error of the inner service. Create a new service, because a service that \
     failed in this way must not be used again.",
);

/// A failure that no other row describes.
pub(super) const UNKNOWN: Text = row(
    &[],
    &[],
    "The call failed in a way that the catalog does not describe.",
    "Read the chain of causes.",
);

const fn row(
    hops: &'static [Hop],
    kinds: &'static [Kind],
    meaning: &'static str,
    action: &'static str,
) -> Text {
    Text {
        hops,
        kinds,
        meaning,
        action,
    }
}
