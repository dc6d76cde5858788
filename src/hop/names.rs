//! The table that maps a failure to its names in other tools.

use super::{Blame, Hop, Kind};
use crate::hop::Stage;

/// A row of the table: a pair of hop and kind, and its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Name {
    /// The hop; also the value of `sevenhops.hop`.
    pub hop: Hop,
    /// The kind of the failure.
    pub kind: Kind,
    /// The value of `error.type`: an RFC 9209 §2.3 proxy error type where one fits. If a status is the failure, the
    /// value is its status code, as OpenTelemetry requires.
    pub error_type: &'static str,
    /// The party that can fix the failure.
    pub blame: Blame,
    /// Whether a retry may succeed. Of the failures by status, only the statuses in the retry settings are retried.
    pub class: Class,
}

/// Whether a failure is transient or permanent.
#[expect(clippy::exhaustive_enums, reason = "it passes or it does not")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It may pass: a retry may succeed, if a retry is safe.
    Passing,
    /// It would fail again: a retry is useless.
    Lasting,
}

impl Name {
    /// Returns the name of the span that carries the failure; `None` if no span is open at that hop.
    #[must_use]
    pub fn span(&self) -> Option<&'static str> {
        Stage::of(self.hop).map(Stage::as_str)
    }
}

/// Returns the whole table, in the order of a call.
#[must_use]
pub fn names() -> &'static [Name] {
    NAMES
}

/// Returns the row of a failure. A pair without a row gets the name of its hop, and the network is to blame.
pub(crate) fn name(hop: Hop, kind: Kind) -> Name {
    NAMES
        .iter()
        .copied()
        .find(|row| row.hop == hop && row.kind == kind)
        .unwrap_or(Name {
            hop,
            kind,
            error_type: "_OTHER",
            blame: Blame::Network,
            class: Class::Lasting,
        })
}

const fn row(
    hop: Hop,
    kind: Kind,
    error_type: &'static str,
    (blame, class): (Blame, Class),
) -> Name {
    Name {
        hop,
        kind,
        error_type,
        blame,
        class,
    }
}

const STATUS: &str = "<status code>";

#[rustfmt::skip] // a table
const NAMES: &[Name] = {
    use Class::{Lasting, Passing};
    use Blame::{Client, Network};
    use Hop::{Connect, Decode, Dns, Encode, Gateway, Receive, Send, Server, Tls};
    &[
        row(Encode,  Kind::Invalid,                  "http_request_error",           (Client, Lasting)),
        row(Dns,     Kind::NotFound,                 "dns_error",                    (Client, Lasting)),
        row(Dns,     Kind::NoRecords,                "dns_error",                    (Client, Lasting)),
        row(Dns,     Kind::ServerFailure,            "dns_error",                    (Network, Passing)),
        row(Dns,     Kind::Timeout,                  "dns_timeout",                  (Network, Passing)),
        row(Dns,     Kind::Unreachable,              "dns_error",                    (Network, Passing)),
        row(Dns,     Kind::Protocol,                 "dns_error",                    (Network, Passing)),
        row(Dns,     Kind::Other,                    "dns_error",                    (Network, Passing)),
        row(Dns,     Kind::Filtered,                 "destination_ip_prohibited",    (Client, Lasting)),
        row(Dns,     Kind::LocalResources,           "local_resources",               (Client, Passing)),
        row(Connect, Kind::Refused,                  "connection_refused",           (Network, Passing)),
        row(Connect, Kind::Timeout,                  "connection_timeout",           (Network, Passing)),
        row(Connect, Kind::Unreachable,              "destination_ip_unroutable",    (Network, Passing)),
        row(Connect, Kind::Reset,                    "connection_terminated",        (Network, Passing)),
        row(Connect, Kind::Closed,                   "connection_terminated",        (Network, Passing)),
        row(Connect, Kind::Proxy,                    "http_request_denied",          (Network, Passing)),
        row(Connect, Kind::ConnectionLimit,          "connection_limit_reached",     (Client, Passing)),
        row(Connect, Kind::ProxyDenied,              "http_request_denied",          (Client, Lasting)),
        row(Connect, Kind::ProxyUnauthorized,        "proxy_configuration_error",    (Client, Lasting)),
        row(Connect, Kind::Other,                    "destination_unavailable",      (Network, Passing)),
        row(Connect, Kind::LocalResources,           "local_resources",               (Client, Passing)),
        row(Tls,     Kind::Timeout,                  "connection_timeout",           (Network, Passing)),
        row(Tls,     Kind::Protocol,                 "tls_protocol_error",           (Blame::Server, Lasting)),
        row(Tls,     Kind::CertificateExpired,       "tls_certificate_error",        (Blame::Server, Lasting)),
        row(Tls,     Kind::CertificateWrongName,     "tls_certificate_error",        (Blame::Server, Lasting)),
        row(Tls,     Kind::CertificateUnknownIssuer, "tls_certificate_error",        (Blame::Server, Lasting)),
        row(Tls,     Kind::CertificateInvalid,       "tls_certificate_error",        (Blame::Server, Lasting)),
        row(Tls,     Kind::Alert,                    "tls_alert_received",           (Blame::Server, Lasting)),
        row(Tls,     Kind::Reset,                    "connection_terminated",        (Network, Passing)),
        row(Tls,     Kind::Closed,                   "connection_terminated",        (Network, Passing)),
        row(Tls,     Kind::Unacknowledged,           "connection_timeout",           (Network, Passing)),
        row(Tls,     Kind::Other,                    "tls_protocol_error",           (Network, Passing)),
        row(Tls,     Kind::LocalResources,           "local_resources",               (Client, Passing)),
        row(Send,    Kind::Timeout,                  "connection_write_timeout",     (Network, Passing)),
        row(Send,    Kind::Reset,                    "connection_terminated",        (Network, Passing)),
        row(Send,    Kind::Closed,                   "connection_terminated",        (Network, Passing)),
        row(Send,    Kind::Unacknowledged,           "connection_write_timeout",     (Network, Passing)),
        row(Send,    Kind::Unprocessed,              "connection_limit_reached",     (Blame::Server, Passing)),
        row(Send,    Kind::Protocol,                 "http_protocol_error",          (Blame::Server, Lasting)),
        row(Send,    Kind::Body,                     "http_request_error",           (Client, Lasting)),
        row(Send,    Kind::Other,                    "connection_terminated",        (Network, Passing)),
        row(Send,    Kind::Alert,                    "tls_alert_received",            (Network, Passing)),
        row(Send,    Kind::LocalResources,           "local_resources",               (Client, Passing)),
        row(Send,    Kind::LocalProtocol,            "local_protocol",                (Client, Passing)),
        row(Gateway, Kind::ProxyUnauthorized,        STATUS,                         (Client, Lasting)),
        row(Gateway, Kind::BadGateway,               STATUS,                         (Network, Passing)),
        row(Gateway, Kind::Timeout,                  STATUS,                         (Network, Passing)),
        row(Gateway, Kind::Unavailable,              STATUS,                         (Network, Passing)),
        row(Gateway, Kind::Failed,                   STATUS,                         (Network, Passing)),
        row(Gateway, Kind::Throttled,                STATUS,                         (Client, Passing)),
        row(Gateway, Kind::Unauthorized,             STATUS,                         (Client, Lasting)),
        row(Gateway, Kind::ClientError,                 STATUS,                         (Client, Lasting)),
        row(Gateway, Kind::RedirectRefused,          STATUS,                         (Client, Lasting)),
        row(Gateway, Kind::Protocol,                 STATUS,                         (Network, Lasting)),
        row(Server,  Kind::Timeout,                  "http_response_timeout",        (Blame::Server, Passing)),
        row(Server,  Kind::Closed,                   "connection_terminated",        (Blame::Server, Passing)),
        row(Server,  Kind::Reset,                    "connection_terminated",        (Blame::Server, Passing)),
        row(Server,  Kind::Protocol,                 "http_protocol_error",          (Blame::Server, Lasting)),
        row(Server,  Kind::Unprocessed,              "connection_limit_reached",     (Blame::Server, Passing)),
        row(Server,  Kind::Unacknowledged,           "connection_read_timeout",      (Network, Passing)),
        row(Server,  Kind::Failed,                   STATUS,                         (Blame::Server, Passing)),
        row(Server,  Kind::Unavailable,              STATUS,                         (Blame::Server, Passing)),
        row(Server,  Kind::Throttled,                STATUS,                         (Client, Passing)),
        row(Server,  Kind::Unauthorized,             STATUS,                         (Client, Lasting)),
        row(Server,  Kind::ClientError,                 STATUS,                         (Client, Lasting)),
        row(Server,  Kind::InProgress,               STATUS,                         (Blame::Server, Passing)),
        row(Server,  Kind::KeyReused,                STATUS,                         (Client, Lasting)),
        row(Server,  Kind::RedirectRefused,          STATUS,                         (Client, Lasting)),
        row(Server,  Kind::Other,                    "http_protocol_error",          (Blame::Server, Passing)),
        row(Server,  Kind::Alert,                    "tls_alert_received",            (Blame::Server, Passing)),
        row(Server,  Kind::LocalResources,           "local_resources",               (Client, Passing)),
        row(Server,  Kind::LocalProtocol,            "local_protocol",                (Client, Passing)),
        row(Receive, Kind::Timeout,                  "connection_read_timeout",      (Network, Passing)),
        row(Receive, Kind::Incomplete,               "http_response_incomplete",     (Network, Passing)),
        row(Receive, Kind::Reset,                    "http_response_incomplete",     (Network, Passing)),
        row(Receive, Kind::Protocol,                 "http_response_transfer_coding", (Blame::Server, Lasting)),
        row(Receive, Kind::TooLarge,                 "http_response_body_size",      (Client, Lasting)),
        row(Receive, Kind::Unacknowledged,           "connection_read_timeout",      (Network, Passing)),
        row(Receive, Kind::Other,                    "http_response_incomplete",     (Network, Passing)),
        row(Receive, Kind::Alert,                    "tls_alert_received",            (Network, Passing)),
        row(Receive, Kind::LocalResources,           "local_resources",               (Client, Passing)),
        row(Receive, Kind::LocalProtocol,            "local_protocol",                (Client, Passing)),
        row(Decode,  Kind::Malformed,                "http_response_content_coding", (Blame::Server, Lasting)),
        row(Decode,  Kind::TooLarge,                 "http_response_body_size",      (Client, Lasting)),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_stands_once_and_in_order() {
        assert!(NAMES.is_sorted_by_key(|row| row.hop));
        for (at, row) in NAMES.iter().enumerate() {
            let again = NAMES[at + 1..]
                .iter()
                .any(|other| (other.hop, other.kind) == (row.hop, row.kind));
            assert!(!again, "{row:?}");
        }
    }

    #[test]
    fn every_hop_has_a_name() {
        for hop in Hop::ALL {
            assert!(NAMES.iter().any(|row| row.hop == hop), "{hop}");
        }
    }
}
