//! The causes of errors, and the values that their sentences show.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use http::{Method, StatusCode, Uri};

use super::Section;
use crate::coding::{Coding, DecodeError};
use crate::destination::Destination;
use crate::dns::{AddressRange, Cidr, DnsError, DnsErrorReason};
use crate::hop::{
    BodyFailed, HeadRefused, Kind, RuntimeGone, SocketFailed, TimeoutElapsed, TunnelRefused,
    Unacknowledged, Unmade,
};
use crate::idempotency_key::IdempotencyKey;
use crate::timeout::TimeoutKind;

pub(super) fn sections() -> Vec<Section> {
    let one = |cause: &dyn ToString| vec![cause.to_string()];
    let malformed = || h2::Error::from(h2::Reason::PROTOCOL_ERROR);
    vec![
        ("TimeoutElapsed", one(&TimeoutElapsed(TimeoutKind::Connect))),
        ("RuntimeGone", one(&RuntimeGone)),
        ("Unacknowledged", one(&Unacknowledged)),
        (
            "SocketFailed",
            one(&SocketFailed(io::Error::from_raw_os_error(13))),
        ),
        ("HeadRefused", one(&HeadRefused(malformed()))),
        ("TunnelRefused", tunnels()),
        (
            "Unmade",
            vec![
                Unmade("secret".into()).to_string(),
                Unmade(io::Error::from_raw_os_error(2).into()).to_string(),
            ],
        ),
        ("BodyFailed", one(&BodyFailed("secret".into()))),
        ("DnsError", names()),
        ("AddressRange", ranges()),
        ("DecodeError", codings()),
        ("Cidr InvalidCidr", networks()),
        ("Destination InvalidDestination Pattern", destinations()),
        ("InvalidIdempotencyKey", keys()),
        (
            "CallTarget",
            vec![
                crate::call::CallTarget::Request {
                    method: Method::POST,
                    uri: Uri::from_static("https://user:secret@api.test/v1?secret"),
                }
                .to_string(),
                crate::call::CallTarget::Operation {
                    name: "charge".into(),
                    destination: Destination::named("payments"),
                }
                .to_string(),
            ],
        ),
        (
            "FailureSite",
            vec!["see RejectionCause: connect (refused)".to_owned()],
        ),
    ]
}

fn tunnels() -> Vec<String> {
    let refused = |status, why: &str| TunnelRefused {
        kind: Kind::ProxyRefused,
        status,
        why: why.to_owned(),
    };
    let status = Some(StatusCode::BAD_GATEWAY);
    [
        refused(status, ""),
        refused(status, "connection_refused"),
        refused(None, "general failure"),
    ]
    .map(|refused| refused.to_string())
    .into()
}

fn names() -> Vec<String> {
    use DnsErrorReason::{NoRecords, NotFound, Protocol, ServerFailure, Timeout, Unreachable};

    [
        NotFound,
        NoRecords,
        Protocol,
        ServerFailure,
        Unreachable,
        Timeout,
    ]
    .map(|reason| DnsError::new("api.test", reason).to_string())
    .into()
}

fn ranges() -> Vec<String> {
    use AddressRange::{
        Benchmarking, Documentation, LinkLocal, Loopback, Metadata, Multicast, Private, Reserved,
        Shared, Unspecified,
    };

    [
        Unspecified,
        Loopback,
        Private,
        Shared,
        LinkLocal,
        Metadata,
        Documentation,
        Benchmarking,
        Multicast,
        Reserved,
    ]
    .map(|range| range.to_string())
    .into()
}

fn codings() -> Vec<String> {
    let corrupt = io::Error::new(io::ErrorKind::InvalidData, "the library's reason");
    [
        DecodeError::Short(Coding::Gzip),
        DecodeError::Long(Coding::Deflate),
        DecodeError::Corrupt(Coding::Brotli, corrupt),
        DecodeError::Hollow(Coding::Gzip),
    ]
    .map(|error| error.to_string())
    .into()
}

fn networks() -> Vec<String> {
    let refused = |text: &str| text.parse::<Cidr>().unwrap_err().to_string();
    vec![
        "10.0.0.0/8".parse::<Cidr>().unwrap().to_string(),
        refused("api.test/8"),
        refused("10.0.0.0/99"),
        refused("::1/999"),
        refused("10.0.0.1/8"),
    ]
}

fn destinations() -> Vec<String> {
    let text = "https://user:secret@api.test/v1?secret";
    let destination: Destination = "https://api.test:8443".parse().unwrap();
    let read = |text| crate::destination::Pattern::read(text).unwrap().to_string();
    vec![
        destination.to_string(),
        text.parse::<Destination>().unwrap_err().to_string(),
        read("*.example.com"),
        read("api.test:8443/v1/charges/{id}"),
    ]
}

fn keys() -> Vec<String> {
    let hour = Duration::from_secs(3_600);
    let derive = |operation, at, kept| {
        let key = IdempotencyKey::derive(operation, "order 1", at, kept);
        key.unwrap_err().to_string()
    };
    vec![
        IdempotencyKey::new("").unwrap_err().to_string(),
        IdempotencyKey::new("a b").unwrap_err().to_string(),
        derive("", UNIX_EPOCH, hour),
        derive("charge", UNIX_EPOCH, Duration::ZERO),
        derive("charge", UNIX_EPOCH, Duration::MAX),
    ]
}
