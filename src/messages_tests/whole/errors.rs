//! The errors of calls: each failure of the catalog with each effect, each rejection, each reason.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http::StatusCode;

use super::Section;
use crate::error::{Error, ReasonText};
use crate::hop::{Diagnosis, Effect, Hop, Kind, Policy, failure_catalog};
use crate::options::Unmet;
use crate::timeout::TimeoutKind;

pub(super) fn sections() -> Vec<Section> {
    vec![
        ("Error Hop Kind Effect, at each hop", failures()),
        ("Error, expired timeouts TimeoutKind", timeouts()),
        ("Error Policy, rejections", rejections()),
        ("Error, operations without a hop", operations()),
        (
            "Error ReasonText, reasons of the system and of peers",
            reasons(),
        ),
        ("Error, reasons of invalid requests", invalid()),
        ("Error Unmet, options without a layer", unmet()),
        ("Error, other parts of the sentence", parts()),
    ]
}

const EFFECTS: [Effect; 4] = [
    Effect::None,
    Effect::Declined,
    Effect::Possible,
    Effect::Done,
];

fn failures() -> Vec<String> {
    let rows = failure_catalog().iter();
    let sentences = rows.flat_map(|row| {
        EFFECTS.map(|effect| Error::new(Diagnosis::new(row.hop, row.kind, effect)).to_string())
    });
    sentences.collect()
}

const TIMEOUTS: [(TimeoutKind, Hop); 8] = [
    (TimeoutKind::Deadline, Hop::Server),
    (TimeoutKind::Attempt, Hop::Server),
    (TimeoutKind::Dns, Hop::Dns),
    (TimeoutKind::Connect, Hop::Connect),
    (TimeoutKind::Tls, Hop::Tls),
    (TimeoutKind::Send, Hop::Send),
    (TimeoutKind::FirstByte, Hop::Server),
    (TimeoutKind::BodyIdle, Hop::Receive),
];

fn timeouts() -> Vec<String> {
    let expired = TIMEOUTS.map(|(which, hop)| {
        let mut diagnosis = Diagnosis::new(hop, Kind::Timeout, Effect::Possible);
        diagnosis.timeout_kind = Some(which);
        Error::new(diagnosis).to_string()
    });
    expired.into()
}

fn rejections() -> Vec<String> {
    let all = [
        (Policy::Deadline, Diagnosis::refusal(Kind::Timeout)),
        (Policy::Idempotency, Diagnosis::key_expired()),
        (Policy::Redirect, Diagnosis::refusal(Kind::RedirectLoop)),
        (Policy::Redirect, Diagnosis::refusal(Kind::TooManyRedirects)),
        (Policy::Redirect, Diagnosis::refusal(Kind::RedirectRefused)),
        (Policy::Throttle, Diagnosis::refusal(Kind::ClientThrottled)),
        (Policy::Breaker, Diagnosis::refusal(Kind::CircuitOpen)),
        (
            Policy::Concurrency,
            Diagnosis::refusal(Kind::ConcurrencyLimit),
        ),
        (Policy::RateLimit, Diagnosis::refusal(Kind::RateLimit)),
    ];
    let sentences = all.map(|(policy, diagnosis)| Error::refused(policy, diagnosis).to_string());
    sentences.into()
}

fn operations() -> Vec<String> {
    let failed = EFFECTS.map(|effect| Diagnosis::operation(effect, None));
    let late = TIMEOUTS.map(|(which, _)| Diagnosis::out_of_time(which));
    let all = failed.into_iter().chain(late);
    all.map(|diagnosis| Error::new(diagnosis).to_string())
        .collect()
}

fn because(hop: Hop, kind: Kind, cause: impl StdError + Send + Sync + 'static) -> String {
    Error::new(Diagnosis::unsent(hop, kind))
        .because(cause)
        .to_string()
}

fn reasons() -> Vec<String> {
    let private = crate::dns::AddressFilter::public_only().check([10, 0, 0, 1].into());
    let mut sentences = vec![
        because(Hop::Dns, Kind::Filtered, private.unwrap_err()),
        because(
            Hop::Send,
            Kind::LocalResources,
            io::Error::from_raw_os_error(24),
        ),
        because(
            Hop::Tls,
            Kind::Other,
            io::Error::from(io::ErrorKind::BrokenPipe),
        ),
        because(
            Hop::Receive,
            Kind::ProtocolError,
            h2::Error::from(h2::Reason::PROTOCOL_ERROR),
        ),
        because(Hop::Server, Kind::LocalResources, crate::hop::RuntimeGone),
        because(
            Hop::Receive,
            Kind::LocalProtocol,
            crate::hop::HeadRefused(h2::Reason::PROTOCOL_ERROR.into()),
        ),
    ];
    sentences.extend(tls_reasons());
    sentences
}

fn tls_reasons() -> impl Iterator<Item = String> {
    use rustls::{
        AlertDescription, CertificateError, Error as Tls, InvalidMessage, PeerIncompatible,
        PeerMisbehaved,
    };

    let failures = [
        (
            Kind::Alert,
            Tls::AlertReceived(AlertDescription::HandshakeFailure),
        ),
        (Kind::ProtocolError, Tls::NoCertificatesPresented),
        (
            Kind::ProtocolError,
            PeerIncompatible::ServerDoesNotSupportTls12Or13.into(),
        ),
        (
            Kind::ProtocolError,
            PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into(),
        ),
        (
            Kind::ProtocolError,
            PeerIncompatible::NoCipherSuitesInCommon.into(),
        ),
        (
            Kind::ProtocolError,
            PeerMisbehaved::TooMuchEarlyDataReceived.into(),
        ),
        (
            Kind::ProtocolError,
            InvalidMessage::InvalidContentType.into(),
        ),
        (
            Kind::ProtocolError,
            Tls::InappropriateMessage {
                expect_types: Vec::new(),
                got_type: rustls::ContentType::Alert,
            },
        ),
        (Kind::ProtocolError, Tls::DecryptError),
        (Kind::ProtocolError, Tls::PeerSentOversizedRecord),
        (Kind::ProtocolError, Tls::NoApplicationProtocol),
        (
            Kind::CertificateInvalid,
            CertificateError::BadEncoding.into(),
        ),
        (
            Kind::CertificateInvalid,
            CertificateError::BadSignature.into(),
        ),
        (Kind::CertificateInvalid, CertificateError::Revoked.into()),
        (
            Kind::CertificateInvalid,
            CertificateError::UnknownRevocationStatus.into(),
        ),
        (
            Kind::CertificateInvalid,
            CertificateError::UnhandledCriticalExtension.into(),
        ),
        (
            Kind::CertificateInvalid,
            CertificateError::InvalidPurpose.into(),
        ),
    ];
    let sentence = |(kind, error)| because(Hop::Tls, kind, error);
    failures.into_iter().map(sentence)
}

fn invalid() -> Vec<String> {
    let url = |text: &str| url::Url::parse(text).unwrap_err();
    let reason =
        |cause: Box<dyn StdError + Send + Sync>| Error::invalid().because(cause).to_string();
    vec![
        reason(url("v1/charges").into()),
        reason(url("https://").into()),
        reason(http::Method::from_bytes(b"a b").unwrap_err().into()),
        reason(http::HeaderName::from_bytes(b"a b").unwrap_err().into()),
        reason(http::HeaderValue::from_bytes(b"\n").unwrap_err().into()),
        reason(ReasonText::new("only http and https are supported").into()),
    ]
}

fn unmet() -> Vec<String> {
    let all = [
        Unmet::Deadline,
        Unmet::InvalidDeadline(Duration::from_millis(9)),
        Unmet::InvalidAttempts(0),
        Unmet::Key,
        Unmet::LostKey,
        Unmet::OtherKey,
        Unmet::WholeBody,
        Unmet::Stale,
        Unmet::EmptyAffinity,
        Unmet::Affinity,
        Unmet::ProxiedAffinity,
        Unmet::Late,
    ];
    all.map(|unmet| Error::from(unmet).to_string()).into()
}

fn parts() -> Vec<String> {
    let mut status = Diagnosis::new(Hop::Server, Kind::Throttled, Effect::Declined);
    status.status = Some(StatusCode::TOO_MANY_REQUESTS);
    let changed = |effect| Diagnosis::new(Hop::Server, Kind::PreconditionFailed, effect);
    vec![
        Error::new(status).after(Duration::from_secs(4)).to_string(),
        Error::new(changed(Effect::Possible)).to_string(),
        Error::new(changed(Effect::Done)).to_string(),
    ]
}
