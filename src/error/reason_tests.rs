use super::*;
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Hop};

fn sentence(hop: Hop, kind: Kind, cause: impl StdError + Send + Sync + 'static) -> String {
    let diagnosis = Diagnosis::new(hop, kind, Effect::None);
    Error::new(diagnosis).because(cause).to_string()
}

#[test]
fn kinds_that_say_little_show_the_reason() {
    let no_uri = "http://[".parse::<http::Uri>().unwrap_err();
    let no_header = http::HeaderValue::from_str("a\nb").unwrap_err();
    for (said, expected) in [
        (
            sentence(Hop::Encode, Kind::InvalidRequest, no_uri),
            "call failed at encode: invalid request: invalid authority; no effect",
        ),
        (
            sentence(Hop::Encode, Kind::InvalidRequest, no_header),
            "call failed at encode: invalid request: failed to parse header value; no effect",
        ),
        (
            sentence(
                Hop::Send,
                Kind::ProtocolError,
                h2::Error::from(h2::Reason::PROTOCOL_ERROR),
            ),
            "call failed at send (hop 4 of 7): protocol error: PROTOCOL_ERROR; no effect",
        ),
        (
            sentence(
                Hop::Connect,
                Kind::Other,
                io::Error::from(io::ErrorKind::Unsupported),
            ),
            "call failed at connect (hop 2 of 7): other: unsupported; no effect",
        ),
    ] {
        assert_eq!(said, expected);
    }
}

#[test]
fn text_of_a_peer_or_an_unknown_library_is_not_shown() {
    let secret = io::Error::other("sk_live_1");
    assert_eq!(
        sentence(Hop::Server, Kind::Other, secret),
        "call failed at server (hop 6 of 7): other; no effect"
    );
}

#[cfg(feature = "client")]
mod with_tls {
    use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};

    use super::*;
    use crate::hop::TunnelRefused;

    #[test]
    fn alert_has_the_name_of_the_rfc() {
        for (alert, name) in [
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (
                AlertDescription::NoApplicationProtocol,
                "no_application_protocol",
            ),
        ] {
            let expected = format!("call failed at tls (hop 3 of 7): alert: {name}; no effect");
            let error = TlsError::AlertReceived(alert);
            let by_message = io::Error::other(error.to_string());
            assert_eq!(sentence(Hop::Tls, Kind::Alert, error), expected);
            assert_eq!(sentence(Hop::Tls, Kind::Alert, by_message), expected);
        }
    }

    #[test]
    fn broken_session_says_how() {
        let plain = TlsError::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(
            sentence(Hop::Tls, Kind::ProtocolError, io::Error::other(plain)),
            "call failed at tls (hop 3 of 7): protocol error: the server sent bytes that are not TLS; no effect"
        );
        let revoked = TlsError::InvalidCertificate(CertificateError::Revoked);
        assert_eq!(
            sentence(Hop::Tls, Kind::CertificateInvalid, revoked),
            "call failed at tls (hop 3 of 7): certificate not acceptable: it was revoked; no effect"
        );
    }

    #[test]
    fn refused_tunnel_has_its_status_and_no_text_of_the_proxy() {
        let refused = |status| TunnelRefused {
            kind: Kind::ProxyRefused,
            status,
            why: "general failure".to_owned(),
        };
        let status = http::StatusCode::BAD_GATEWAY;
        assert_eq!(
            sentence(Hop::Connect, Kind::ProxyRefused, refused(Some(status))),
            "call failed at connect (hop 2 of 7): refused by the proxy: status 502; no effect"
        );
        assert_eq!(
            sentence(Hop::Connect, Kind::ProxyRefused, refused(None)),
            "call failed at connect (hop 2 of 7): refused by the proxy: general failure; no effect"
        );
    }

    #[test]
    fn url_that_cannot_be_parsed_says_why() {
        let relative = url::Url::parse("nonsense").unwrap_err();
        assert_eq!(
            sentence(Hop::Encode, Kind::InvalidRequest, relative),
            "call failed at encode: invalid request: relative URL without a base; no effect"
        );
    }
}
