//! The table that maps a failure to its names in other tools.

use super::{Blame, Hop, Kind};
use crate::hop::Stage;

/// A row of the table: a pair of hop and kind, and its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureSpec {
    /// The hop; also the value of `sevenhops.hop`.
    pub hop: Hop,
    /// The kind of the failure.
    pub kind: Kind,
    /// The value of `error.type`: an RFC 9209 §2.3 proxy error type where one fits. If a status is the failure, the
    /// value is its status code, as OpenTelemetry requires.
    pub error_type: &'static str,
    /// The party that can fix the failure.
    pub blame: Blame,
    /// Whether a retry may succeed. Of the failures by status, only the statuses in the
    /// [`RetryConfig`](crate::RetryConfig) are retried.
    pub class: Retryability,
}

/// Whether a failure is transient or permanent.
#[expect(
    clippy::exhaustive_enums,
    reason = "a failure is transient or permanent"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retryability {
    /// A retry may succeed. It is made only if it is safe.
    Transient,
    /// A retry would fail again, so it is useless.
    Permanent,
}

impl FailureSpec {
    /// Returns the name of the span that carries the failure; `None` if no span is open at that hop.
    #[must_use]
    pub fn span(&self) -> Option<&'static str> {
        Stage::of(self.hop).map(Stage::as_str)
    }
}

/// Returns the whole table, in the order of a call.
#[must_use]
pub fn failure_catalog() -> &'static [FailureSpec] {
    CATALOG
}

/// Returns the row of a failure. A pair without a row has no name: the network is to blame, and a retry may succeed.
pub(crate) fn name(hop: Hop, kind: Kind) -> FailureSpec {
    CATALOG
        .iter()
        .copied()
        .find(|row| row.hop == hop && row.kind == kind)
        .unwrap_or(FailureSpec {
            hop,
            kind,
            error_type: "_OTHER",
            blame: Blame::Network,
            class: Retryability::Transient,
        })
}

const fn row(
    hop: Hop,
    kind: Kind,
    error_type: &'static str,
    (blame, class): (Blame, Retryability),
) -> FailureSpec {
    FailureSpec {
        hop,
        kind,
        error_type,
        blame,
        class,
    }
}

const STATUS: &str = "<status code>";

#[rustfmt::skip] // a table
const CATALOG: &[FailureSpec] = {
    use Retryability::{Permanent, Transient};
    use Blame::{Client, Network};
    use Hop::{Connect, Decode, Dns, Encode, Gateway, Receive, Send, Server, Tls};
    &[
        row(Encode,  Kind::InvalidRequest,                  "http_request_error",           (Client, Permanent)),
        row(Dns,     Kind::NotFound,                 "dns_error",                    (Client, Permanent)),
        row(Dns,     Kind::NoRecords,                "dns_error",                    (Client, Permanent)),
        row(Dns,     Kind::ServerFailure,            "dns_error",                    (Network, Transient)),
        row(Dns,     Kind::Timeout,                  "dns_timeout",                  (Network, Transient)),
        row(Dns,     Kind::Unreachable,              "dns_error",                    (Network, Transient)),
        row(Dns,     Kind::ProtocolError,                 "dns_error",                    (Network, Transient)),
        row(Dns,     Kind::Other,                    "dns_error",                    (Network, Transient)),
        row(Dns,     Kind::Filtered,                 "destination_ip_prohibited",    (Client, Permanent)),
        row(Dns,     Kind::LocalResources,           "local_resources",               (Client, Transient)),
        row(Connect, Kind::Refused,                  "connection_refused",           (Network, Transient)),
        row(Connect, Kind::Timeout,                  "connection_timeout",           (Network, Transient)),
        row(Connect, Kind::Unreachable,              "destination_ip_unroutable",    (Network, Transient)),
        row(Connect, Kind::Reset,                    "connection_terminated",        (Network, Transient)),
        row(Connect, Kind::Closed,                   "connection_terminated",        (Network, Transient)),
        row(Connect, Kind::ProxyRefused,                    "http_request_denied",          (Network, Transient)),
        row(Connect, Kind::ConnectionLimit,          "connection_limit_reached",     (Client, Transient)),
        row(Connect, Kind::ProxyDenied,              "http_request_denied",          (Client, Permanent)),
        row(Connect, Kind::ProxyUnauthorized,        "proxy_configuration_error",    (Client, Permanent)),
        row(Connect, Kind::ProtocolError,            "tls_protocol_error",           (Network, Permanent)),
        row(Connect, Kind::CertificateExpired,       "tls_certificate_error",        (Network, Permanent)),
        row(Connect, Kind::CertificateWrongName,     "tls_certificate_error",        (Network, Permanent)),
        row(Connect, Kind::CertificateUnknownIssuer, "tls_certificate_error",        (Network, Permanent)),
        row(Connect, Kind::CertificateInvalid,       "tls_certificate_error",        (Network, Permanent)),
        row(Connect, Kind::Alert,                    "tls_alert_received",           (Network, Permanent)),
        row(Connect, Kind::Other,                    "destination_unavailable",      (Network, Transient)),
        row(Connect, Kind::LocalResources,           "local_resources",               (Client, Transient)),
        row(Tls,     Kind::Timeout,                  "connection_timeout",           (Network, Transient)),
        row(Tls,     Kind::ProtocolError,                 "tls_protocol_error",           (Blame::Server, Permanent)),
        row(Tls,     Kind::CertificateExpired,       "tls_certificate_error",        (Blame::Server, Permanent)),
        row(Tls,     Kind::CertificateWrongName,     "tls_certificate_error",        (Blame::Server, Permanent)),
        row(Tls,     Kind::CertificateUnknownIssuer, "tls_certificate_error",        (Blame::Server, Permanent)),
        row(Tls,     Kind::CertificateInvalid,       "tls_certificate_error",        (Blame::Server, Permanent)),
        row(Tls,     Kind::Alert,                    "tls_alert_received",           (Blame::Server, Permanent)),
        row(Tls,     Kind::Reset,                    "connection_terminated",        (Network, Transient)),
        row(Tls,     Kind::Closed,                   "connection_terminated",        (Network, Transient)),
        row(Tls,     Kind::Unacknowledged,           "connection_timeout",           (Network, Transient)),
        row(Tls,     Kind::Other,                    "tls_protocol_error",           (Network, Transient)),
        row(Tls,     Kind::LocalResources,           "local_resources",               (Client, Transient)),
        row(Send,    Kind::Timeout,                  "connection_write_timeout",     (Network, Transient)),
        row(Send,    Kind::Reset,                    "connection_terminated",        (Network, Transient)),
        row(Send,    Kind::Closed,                   "connection_terminated",        (Network, Transient)),
        row(Send,    Kind::Unacknowledged,           "connection_write_timeout",     (Network, Transient)),
        row(Send,    Kind::Unprocessed,              "connection_limit_reached",     (Blame::Server, Transient)),
        row(Send,    Kind::ProtocolError,                 "http_protocol_error",          (Blame::Server, Permanent)),
        row(Send,    Kind::RequestBody,                     "http_request_error",           (Client, Permanent)),
        row(Send,    Kind::Other,                    "connection_terminated",        (Network, Transient)),
        row(Send,    Kind::Alert,                    "tls_alert_received",            (Network, Transient)),
        row(Send,    Kind::LocalResources,           "local_resources",               (Client, Transient)),
        row(Send,    Kind::LocalProtocol,            "local_protocol",                (Client, Transient)),
        row(Gateway, Kind::ProxyUnauthorized,        STATUS,                         (Client, Permanent)),
        row(Gateway, Kind::BadGateway,               STATUS,                         (Network, Transient)),
        row(Gateway, Kind::Timeout,                  STATUS,                         (Network, Transient)),
        row(Gateway, Kind::Unavailable,              STATUS,                         (Network, Transient)),
        row(Gateway, Kind::ServerError,                   STATUS,                         (Network, Transient)),
        row(Gateway, Kind::Throttled,                STATUS,                         (Client, Transient)),
        row(Gateway, Kind::Unauthorized,             STATUS,                         (Client, Permanent)),
        row(Gateway, Kind::PreconditionFailed,         STATUS,                         (Client, Permanent)),
        row(Gateway, Kind::PreconditionRequired,       STATUS,                         (Client, Permanent)),
        row(Gateway, Kind::ClientError,                 STATUS,                         (Client, Permanent)),
        row(Gateway, Kind::RedirectRefused,          STATUS,                         (Client, Permanent)),
        row(Gateway, Kind::ProtocolError,                 STATUS,                         (Network, Permanent)),
        row(Server,  Kind::Timeout,                  "http_response_timeout",        (Blame::Server, Transient)),
        row(Server,  Kind::Closed,                   "connection_terminated",        (Blame::Server, Transient)),
        row(Server,  Kind::Reset,                    "connection_terminated",        (Blame::Server, Transient)),
        row(Server,  Kind::ProtocolError,                 "http_protocol_error",          (Blame::Server, Permanent)),
        row(Server,  Kind::Unprocessed,              "connection_limit_reached",     (Blame::Server, Transient)),
        row(Server,  Kind::Unacknowledged,           "connection_read_timeout",      (Network, Transient)),
        row(Server,  Kind::ServerError,                   STATUS,                         (Blame::Server, Transient)),
        row(Server,  Kind::Unavailable,              STATUS,                         (Blame::Server, Transient)),
        row(Server,  Kind::Throttled,                STATUS,                         (Client, Transient)),
        row(Server,  Kind::Unauthorized,             STATUS,                         (Client, Permanent)),
        row(Server,  Kind::PreconditionFailed,         STATUS,                         (Client, Permanent)),
        row(Server,  Kind::PreconditionRequired,       STATUS,                         (Client, Permanent)),
        row(Server,  Kind::ClientError,                 STATUS,                         (Client, Permanent)),
        row(Server,  Kind::InProgress,               STATUS,                         (Blame::Server, Transient)),
        row(Server,  Kind::KeyReused,                STATUS,                         (Client, Permanent)),
        row(Server,  Kind::RedirectRefused,          STATUS,                         (Client, Permanent)),
        row(Server,  Kind::Other,                    "http_protocol_error",          (Blame::Server, Transient)),
        row(Server,  Kind::Alert,                    "tls_alert_received",            (Blame::Server, Transient)),
        row(Server,  Kind::LocalResources,           "local_resources",               (Client, Transient)),
        row(Server,  Kind::LocalProtocol,            "local_protocol",                (Client, Transient)),
        row(Receive, Kind::Timeout,                  "connection_read_timeout",      (Network, Transient)),
        row(Receive, Kind::Incomplete,               "http_response_incomplete",     (Network, Transient)),
        row(Receive, Kind::Reset,                    "http_response_incomplete",     (Network, Transient)),
        row(Receive, Kind::ProtocolError,                 "http_response_transfer_coding", (Blame::Server, Permanent)),
        row(Receive, Kind::TooLarge,                 "http_response_body_size",      (Client, Permanent)),
        row(Receive, Kind::Unacknowledged,           "connection_read_timeout",      (Network, Transient)),
        row(Receive, Kind::Other,                    "http_response_incomplete",     (Network, Transient)),
        row(Receive, Kind::Alert,                    "tls_alert_received",            (Network, Transient)),
        row(Receive, Kind::LocalResources,           "local_resources",               (Client, Transient)),
        row(Receive, Kind::LocalProtocol,            "local_protocol",                (Client, Transient)),
        row(Decode,  Kind::Malformed,                "http_response_content_coding", (Blame::Server, Permanent)),
        row(Decode,  Kind::TooLarge,                 "http_response_body_size",      (Client, Permanent)),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_stands_once_and_in_order() {
        assert!(CATALOG.is_sorted_by_key(|row| row.hop));
        for (at, row) in CATALOG.iter().enumerate() {
            let again = CATALOG[at + 1..]
                .iter()
                .any(|other| (other.hop, other.kind) == (row.hop, row.kind));
            assert!(!again, "{row:?}");
        }
    }

    #[test]
    fn pair_without_a_row_is_transient() {
        let row = name(Hop::Decode, Kind::Refused);
        assert_eq!(
            (row.error_type, row.class),
            ("_OTHER", Retryability::Transient)
        );
    }

    #[test]
    fn every_hop_has_a_name() {
        for hop in Hop::ALL {
            assert!(CATALOG.iter().any(|row| row.hop == hop), "{hop}");
        }
    }
}
