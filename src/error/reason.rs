//! The reason in the sentence of an error, where the kind alone does not say enough.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::{fmt, io};

use crate::hop::Kind;

/// The reason of a failure in words of this crate, which hold no secret and no text of a peer. `Display` of the error
/// shows it.
#[derive(Debug)]
pub(crate) struct ReasonText(Cow<'static, str>);

impl ReasonText {
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ReasonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for ReasonText {}

/// Returns the reason that one of these causes gives for a failure of this kind. The innermost cause is the most exact
/// one. The text holds no secret and no text of a peer: it is a constant of a library, a code, or the system's text.
pub(super) fn reason<'e>(
    causes: impl Iterator<Item = &'e (dyn StdError + 'static)>,
    kind: Kind,
) -> Option<Cow<'static, str>> {
    let mut found = None;
    for cause in causes {
        if let Some(text) = cause.downcast_ref::<ReasonText>() {
            return Some(text.0.clone());
        }
        found = match kind {
            Kind::InvalidRequest => invalid(cause),
            Kind::Other | Kind::ProtocolError | Kind::Alert | Kind::CertificateInvalid => {
                peer(cause)
            }
            #[cfg(feature = "client")]
            Kind::Filtered => filtered(cause),
            #[cfg(feature = "client")]
            Kind::ProxyRefused | Kind::ProxyDenied => proxy(cause),
            _ => None,
        }
        .or(found);
    }
    found
}

/// Returns why a request is invalid.
fn invalid(cause: &(dyn StdError + 'static)) -> Option<Cow<'static, str>> {
    #[cfg(feature = "client")]
    if let Some(error) = cause.downcast_ref::<url::ParseError>() {
        return Some(error.to_string().into());
    }
    let is_constant = cause.is::<http::Error>()
        || cause.is::<http::uri::InvalidUri>()
        || cause.is::<http::uri::InvalidUriParts>()
        || cause.is::<http::header::InvalidHeaderName>()
        || cause.is::<http::header::InvalidHeaderValue>()
        || cause.is::<http::method::InvalidMethod>();
    is_constant.then(|| cause.to_string().into())
}

/// Returns how the peer or the system broke the connection.
fn peer(cause: &(dyn StdError + 'static)) -> Option<Cow<'static, str>> {
    #[cfg(feature = "client")]
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return tls::reason(error);
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return Some(error.to_string().into());
    }
    if let Some(error) = cause.downcast_ref::<h2::Error>() {
        return error.reason().map(|code| format!("{code:?}").into());
    }
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return match (error.raw_os_error(), error.get_ref()) {
            (Some(_), _) => Some(error.to_string().into()),
            (None, None) => Some(error.kind().to_string().into()),
            (None, Some(_)) => None,
        };
    }
    #[cfg(feature = "client")]
    return tls::alert_by_message(&cause.to_string());
    #[cfg(not(feature = "client"))]
    None
}

/// Returns the address that the filter refused, and why.
#[cfg(feature = "client")]
fn filtered(cause: &(dyn StdError + 'static)) -> Option<Cow<'static, str>> {
    let denied = cause.downcast_ref::<crate::dns::AddressDenied>()?;
    Some(denied.reason().into())
}

/// Returns why a proxy refused a tunnel. The text of its `Proxy-Status` stays in the cause.
#[cfg(feature = "client")]
fn proxy(cause: &(dyn StdError + 'static)) -> Option<Cow<'static, str>> {
    let refused = cause.downcast_ref::<crate::hop::TunnelRefused>()?;
    Some(match refused.status {
        Some(status) => format!("status {}", status.as_u16()).into(),
        None => refused.why.clone().into(),
    })
}

#[cfg(feature = "client")]
mod tls {
    use std::borrow::Cow;

    use rustls::{CertificateError, Error, PeerIncompatible};

    /// Returns what a TLS session failed at. rustls' own text may hold names from the certificate.
    pub(super) fn reason(error: &Error) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match error {
            Error::AlertReceived(alert) => return Some(snake(&format!("{alert:?}")).into()),
            Error::InvalidCertificate(error) => certificate(error)?,
            Error::NoCertificatesPresented => "the server presented no certificate",
            Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
                "the server supports neither TLS 1.2 nor TLS 1.3"
            }
            Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig) => {
                "the client's config disables the server's TLS version"
            }
            Error::PeerIncompatible(_) => "the server supports no common TLS parameters",
            Error::PeerMisbehaved(_) => "the server broke the rules of TLS",
            Error::InvalidMessage(_) => "the server sent bytes that are not TLS",
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
                "the server sent an unexpected TLS message"
            }
            Error::DecryptError => "a TLS record cannot be decrypted",
            Error::PeerSentOversizedRecord => "the server sent a TLS record above the maximum size",
            Error::NoApplicationProtocol => "the server supports no common ALPN protocol",
            _ => return None,
        }))
    }

    fn certificate(error: &CertificateError) -> Option<&'static str> {
        Some(match error {
            CertificateError::BadEncoding => "its encoding is invalid",
            CertificateError::BadSignature => "its signature is invalid",
            CertificateError::Revoked => "it was revoked",
            CertificateError::UnknownRevocationStatus => "its revocation status is unknown",
            CertificateError::UnhandledCriticalExtension => "it has an unknown critical extension",
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "it is not for a server"
            }
            _ => return None,
        })
    }

    /// Returns the alert in a message of rustls. h2 keeps only the message.
    pub(super) fn alert_by_message(message: &str) -> Option<Cow<'static, str>> {
        let name = message.strip_prefix("received fatal alert: ")?;
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric());
        is_name.then(|| snake(name).into())
    }

    /// Returns the name of an alert as RFC 8446 §6 spells it: `UnknownCA` is `unknown_ca`.
    fn snake(name: &str) -> String {
        let mut snake = String::with_capacity(name.len() + 4);
        let mut was_lower = false;
        for c in name.chars() {
            if c.is_ascii_uppercase() && was_lower {
                snake.push('_');
            }
            was_lower = c.is_ascii_lowercase();
            snake.push(c.to_ascii_lowercase());
        }
        snake
    }
}

#[cfg(test)]
#[path = "reason_tests.rs"]
mod tests;
