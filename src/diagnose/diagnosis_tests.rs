//! Evidence does not overrule the stage, whatever an error says and whenever it occurs in an attempt.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hickory_resolver::net::NetError;
use http::StatusCode;
use proptest::prelude::*;
use rustls::AlertDescription;

use super::*;
use crate::box_error::BoxError;
use crate::clock;
use crate::dns::{DnsError, DnsErrorReason};
use crate::error::Error;
use crate::hop::{BodyFailed, Keyed, TimeoutElapsed, TlsSession, name};
use crate::record::Tickets;
use crate::telemetry::AttemptSpans;
use crate::timeout::Timeouts;

/// The progress of an attempt.
#[derive(Clone, Debug)]
struct Journey {
    /// Whether the transport reports its stages.
    tracked: bool,
    reached: Reached,
    taken: bool,
    sent: bool,
    head: Option<u16>,
    tls: Option<&'static str>,
    /// Whether tickets are counted, and whether one came.
    ticket: Option<bool>,
    via: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Nothing,
    Dns,
    Connect,
    Tls,
    Pooled,
    Own,
}

fn journey() -> impl Strategy<Value = Journey> {
    use Reached::{Connect, Dns, Nothing, Own, Pooled, Tls};
    let reached = prop::sample::select(vec![Nothing, Dns, Connect, Tls, Pooled, Own, Own, Own]);
    let head = prop::sample::select(vec![None, None, Some(200), Some(302), Some(503)]);
    let tls = prop::sample::select(vec![Some("1.3"), Some("1.3"), Some("1.2"), None]);
    let ticket = prop::sample::select(vec![None, Some(true), Some(false), Some(false)]);
    let via = prop::sample::select(vec![None, Some("http://proxy"), Some("https://proxy")]);
    let marks = (prop::bool::weighted(0.8), any::<bool>(), any::<bool>());
    (marks, reached, head, tls, ticket, via).prop_map(
        |((tracked, taken, sent), reached, head, tls, ticket, via)| {
            // Without a connection nothing is taken. Without a taken request nothing is sent, and no response comes.
            let taken = taken && reached >= Pooled;
            Journey {
                tracked,
                reached,
                taken,
                sent: sent && taken,
                head: head.filter(|_| taken),
                tls,
                ticket,
                via,
            }
        },
    )
}

impl Journey {
    fn tracker(&self) -> Tracker {
        let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
        let tracker = Tracker::new(timeouts, AttemptSpans::default(), clock::now());
        if self.tracked {
            tracker.begin();
        }
        self.setup(&tracker);
        if self.taken {
            assert!(tracker.take());
        }
        if self.sent {
            tracker.sent_all();
        }
        if let Some(status) = self.head {
            let status = StatusCode::from_u16(status).unwrap();
            let judged = Diagnosis::status(status, &http::HeaderMap::new(), Keyed::No);
            tracker.head(status, judged, clock::now());
        }
        tracker
    }

    fn setup(&self, tracker: &Tracker) {
        if self.reached == Reached::Dns {
            tracker.enter(Stage::Dns);
        }
        if matches!(self.reached, Reached::Connect | Reached::Tls | Reached::Own) {
            tracker.connecting(None);
        }
        let counter = Arc::new(AtomicU32::new(7));
        tracker.facts(|facts| {
            facts.tls = self.tls.map(|version| TlsSession {
                version,
                alpn: None,
                is_resumed: None,
            });
            facts.via = self.via.map(str::to_owned);
            facts.tickets = self.ticket.map(|_| Tickets::since_now(&counter));
        });
        if self.ticket == Some(true) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
        if matches!(self.reached, Reached::Tls | Reached::Own) {
            tracker.handshaking();
        }
        match self.reached {
            Reached::Own => tracker.connected(),
            Reached::Pooled => tracker.queued(),
            _ => {}
        }
    }

    /// Returns whether the server may still refuse the client's certificate.
    fn awaits_verdict(&self) -> bool {
        let direct = self.via != Some("https://proxy");
        let fresh = self.reached == Reached::Own && self.tls == Some("1.3");
        fresh && direct && self.ticket == Some(false)
    }
}

/// Returns an alert in the form that tokio-rustls reports, and in the form that h2 keeps.
fn alert(code: u8) -> [BoxError; 2] {
    let alert = rustls::Error::AlertReceived(AlertDescription::from(code));
    let text = io::Error::new(io::ErrorKind::InvalidData, alert.to_string());
    let typed = io::Error::new(io::ErrorKind::InvalidData, alert);
    [typed.into(), text.into()]
}

const REFUSALS: [u8; 7] = [42, 43, 44, 45, 46, 48, 116];

proptest! {
    // Only a few cases in a hundred allow the server to refuse a certificate.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8_192) })]

    #[test]
    fn alert_is_of_the_setup_only_before_the_request_or_against_the_certificate(
        journey in journey(),
        code in prop_oneof![any::<u8>(), prop::sample::select(REFUSALS.to_vec())],
    ) {
        let tracker = journey.tracker();
        let before = journey.tracked && journey.head.is_none();
        let refused = REFUSALS.contains(&code) && journey.awaits_verdict();
        for error in alert(code) {
            let diagnosis = diagnose(&tracker, &*error);
            prop_assert_eq!(diagnosis.kind, Kind::Alert);
            if before && (!journey.taken || refused) {
                // The TLS session with an https proxy belongs to the connect.
                let hop = if journey.reached == Reached::Connect { Hop::Connect } else { Hop::Tls };
                prop_assert_eq!((diagnosis.hop, diagnosis.effect), (Some(hop), Effect::None));
            } else {
                let stage = stage_hop(&tracker, tracker.open());
                prop_assert_eq!(diagnosis.hop, Some(stage));
                prop_assert!(diagnosis.effect >= Effect::Possible);
                prop_assert_eq!(diagnosis.effect == Effect::Done, journey.head == Some(200));
            }
        }
    }

    #[test]
    fn nothing_that_was_taken_is_a_failed_connect(
        journey in journey(),
        cause in cause(),
    ) {
        let error = cause.error();
        let tracker = journey.tracker();
        let refuses = evidence(&*error).refuses_certificate;
        let diagnosis = diagnose(&tracker, &*error);
        let is_connect = Error::new(diagnosis).is_connect();
        let is_set_up = matches!(diagnosis.hop, Some(Hop::Dns | Hop::Connect | Hop::Tls));
        prop_assert_eq!(is_connect, diagnosis.effect == Effect::None && is_set_up);
        if is_connect && journey.taken {
            prop_assert!(refuses && journey.awaits_verdict() && journey.head.is_none());
        }
        if let Some(status) = journey.head {
            prop_assert!(diagnosis.effect >= Effect::Possible);
            prop_assert_eq!(diagnosis.effect == Effect::Done, status == 200);
        }
        // Without a transport that reports its stages, the request may have been sent, whatever the error says.
        prop_assert!(journey.tracked || diagnosis.effect != Effect::None);
        if diagnosis.kind.is_local() {
            prop_assert_eq!(Error::new(diagnosis).blame(), crate::Blame::Client);
            prop_assert!(name(diagnosis.hop.unwrap(), diagnosis.kind).error_type.starts_with("local_"));
        }
    }
}

#[test]
fn refused_certificate_of_a_second_request_says_nothing_about_the_first() {
    let journey = Journey {
        taken: true,
        sent: true,
        tls: Some("1.3"),
        ticket: Some(false),
        ..setup_at(Reached::Own)
    };
    for error in alert(116) {
        let tracker = journey.tracker();
        assert_eq!(diagnose(&tracker, &*error).effect, Effect::None, "{error}");
        tracker.begin();
        journey.setup(&tracker);
        assert!(tracker.take());
        let second = diagnose(&tracker, &*error);
        assert_eq!(second.effect, Effect::Possible, "{error}");
    }
}

#[test]
fn failure_of_a_proxy_during_its_tls_handshake_has_a_name() {
    let expired = rustls::CertificateError::Expired.into();
    let plain = rustls::InvalidMessage::InvalidContentType.into();
    for (cause, kind) in [
        (Cause::Io(io::ErrorKind::UnexpectedEof), Kind::Closed),
        (Cause::Tls(expired), Kind::CertificateExpired),
        (Cause::Tls(plain), Kind::ProtocolError),
        (Cause::Alert(40, true), Kind::Alert),
    ] {
        let diagnosis = diagnose(&setup_at(Reached::Connect).tracker(), &*cause.error());
        assert_eq!(diagnosis, Diagnosis::unsent(Hop::Connect, kind));
        assert_ne!(name(Hop::Connect, kind).error_type, "_OTHER", "{kind}");
    }
}

/// The cause may be the error of a connection to a name server, or of a call that a user's resolver made.
#[test]
fn failed_lookup_is_a_dns_failure_whatever_its_cause_says() {
    for reason in REASONS {
        for stage in [Reached::Dns, Reached::Nothing] {
            let tracker = lookup(stage);
            let check = |error: DnsError, expected: Kind| {
                let diagnosis = diagnose(&tracker, &error);
                let found = (diagnosis.hop, diagnosis.kind);
                assert_eq!(found, (Some(Hop::Dns), expected), "{reason:?} {error:?}");
                assert_ne!(name(Hop::Dns, diagnosis.kind).error_type, "_OTHER");
                let is_timeout = diagnosis.timeout_kind == Some(TimeoutKind::Dns);
                assert_eq!(is_timeout, expected == Kind::Timeout);
            };
            let failed = || DnsError::new("api.test", reason);
            check(failed(), reason.into());
            for kind in IO_KINDS {
                let expected = match kind {
                    io::ErrorKind::AddrNotAvailable => Kind::LocalResources,
                    _ => reason.into(),
                };
                check(failed().caused_by(io::Error::from(kind)), expected);
                let inside = Arc::new(io::Error::from(kind));
                check(failed().caused_by(NetError::Io(inside)), expected);
            }
            let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
            check(failed().caused_by(alert), reason.into());
            let reset = h2::Error::from(h2::Reason::REFUSED_STREAM);
            check(failed().caused_by(reset), reason.into());
            let limit = TimeoutElapsed(TimeoutKind::Connect);
            check(failed().caused_by(limit), reason.into());
            let trailers = "chunk trailers count overflow";
            let trailers = io::Error::new(io::ErrorKind::InvalidData, trailers);
            check(failed().caused_by(trailers), reason.into());
        }
    }
}

#[test]
fn failed_call_of_a_resolver_has_no_effect_on_the_call_that_needs_the_name() {
    let unavailable = Diagnosis::status(
        StatusCode::SERVICE_UNAVAILABLE,
        &http::HeaderMap::new(),
        Keyed::No,
    );
    let registry = Error::new(unavailable.unwrap());
    let error = DnsError::new("api.test", DnsErrorReason::ServerFailure).caused_by(registry);
    let diagnosis = diagnose(&lookup(Reached::Dns), &error);
    assert_eq!(
        (diagnosis.hop, diagnosis.kind, diagnosis.effect),
        (Some(Hop::Dns), Kind::ServerFailure, Effect::None)
    );
    assert_eq!(diagnosis.status, None);
}

/// Returns an attempt that looks a name up, by the crate's own transport or by a service that reports no stages.
fn lookup(reached: Reached) -> Tracker {
    let journey = Journey {
        tracked: reached == Reached::Dns,
        ..setup_at(reached)
    };
    let tracker = journey.tracker();
    if reached == Reached::Nothing {
        tracker.waiting(clock::now());
    }
    tracker
}

/// Returns an attempt whose setup is at this point.
fn setup_at(reached: Reached) -> Journey {
    Journey {
        tracked: true,
        reached,
        taken: false,
        sent: false,
        head: None,
        tls: None,
        ticket: None,
        via: None,
    }
}

const REASONS: [DnsErrorReason; 6] = [
    DnsErrorReason::NotFound,
    DnsErrorReason::NoRecords,
    DnsErrorReason::Protocol,
    DnsErrorReason::ServerFailure,
    DnsErrorReason::Unreachable,
    DnsErrorReason::Timeout,
];

const IO_KINDS: [io::ErrorKind; 10] = {
    use io::ErrorKind as Io;
    [
        Io::ConnectionRefused,
        Io::ConnectionReset,
        Io::BrokenPipe,
        Io::UnexpectedEof,
        Io::NotConnected,
        Io::HostUnreachable,
        Io::AddrNotAvailable,
        Io::TimedOut,
        Io::InvalidData,
        Io::Other,
    ]
};

/// The parts of an error. Each case builds a new error, because errors cannot be cloned.
#[derive(Clone, Debug)]
enum Cause {
    Alert(u8, bool),
    Io(io::ErrorKind),
    Code(i32),
    Dns(DnsErrorReason),
    Tls(rustls::Error),
    Timeout(TimeoutKind),
    Body,
    Http2(u32),
}

impl Cause {
    fn error(self) -> BoxError {
        match self {
            Self::Alert(code, is_typed) => {
                let [typed, text] = alert(code);
                if is_typed { typed } else { text }
            }
            Self::Io(kind) => io::Error::from(kind).into(),
            Self::Code(code) => io::Error::from_raw_os_error(code).into(),
            Self::Dns(reason) => DnsError::new("api.test", reason).into(),
            Self::Tls(error) => io::Error::new(io::ErrorKind::InvalidData, error).into(),
            Self::Timeout(which) => TimeoutElapsed(which).into(),
            Self::Body => BodyFailed("of its own".into()).into(),
            Self::Http2(code) => h2::Error::from(h2::Reason::from(code)).into(),
        }
    }
}

fn cause() -> impl Strategy<Value = Cause> {
    let io = prop::sample::select(IO_KINDS.to_vec());
    let dns = prop::sample::select(REASONS.to_vec());
    let tls = prop::sample::select(vec![
        rustls::Error::NoCertificatesPresented,
        rustls::Error::DecryptError,
        rustls::Error::HandshakeNotComplete,
        rustls::CertificateError::Expired.into(),
    ]);
    let limit = prop::sample::select(vec![
        TimeoutKind::Dns,
        TimeoutKind::Connect,
        TimeoutKind::Tls,
    ]);
    prop_oneof![
        (any::<u8>(), any::<bool>()).prop_map(|(code, typed)| Cause::Alert(code, typed)),
        (prop::sample::select(REFUSALS.to_vec()), any::<bool>())
            .prop_map(|(code, typed)| Cause::Alert(code, typed)),
        io.prop_map(Cause::Io),
        (1..133).prop_map(Cause::Code),
        dns.prop_map(Cause::Dns),
        tls.prop_map(Cause::Tls),
        limit.prop_map(Cause::Timeout),
        Just(Cause::Body),
        (0..14u32).prop_map(Cause::Http2),
    ]
}
