//! Reads the chain of an error's causes: the kind of the failure, and sometimes its hop.

use std::error::Error as StdError;
use std::io;

#[cfg(feature = "client")]
use hickory_resolver::net::NetError;

use crate::chain::chain;
#[cfg(feature = "client")]
use crate::dns::DnsError;
use crate::error::Error;
use crate::hop::{BodyFailed, Diagnosis, Hop, Kind, TimeoutElapsed, local};
#[cfg(feature = "client")]
use crate::hop::{TunnelRefused, Unacknowledged};
use crate::timeout::TimeoutKind;

/// The facts in an error's chain. The tracker supplies the facts that the chain leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) kind: Option<Kind>,
    /// The hop of the failure, if the failure was noticed at a later one.
    pub(super) hop: Option<Hop>,
    /// The peer declared by HTTP/2 that it did not process the request.
    pub(super) unprocessed: bool,
    /// A TLS alert refuses the client's certificate.
    pub(super) refuses_certificate: bool,
    /// A TLS record was corrupted on its way.
    pub(super) garbled: bool,
    /// One HTTP/2 stream broke, not the connection.
    pub(super) stream: bool,
    /// hyper or h2 reported the failure of a connection. Neither keeps the error code of the system.
    is_of_connection: bool,
    pub(super) timeout_kind: Option<TimeoutKind>,
    /// A connector reported that the setup failed. Holds the hop of the setup, as far as the connector reports it.
    pub(super) setup: Option<Hop>,
    /// An error of this crate is in the chain and has a diagnosis.
    pub(super) known: Option<Diagnosis>,
}

/// Reads the whole chain. The innermost cause that has a fact decides.
pub(super) fn evidence(error: &(dyn StdError + 'static)) -> Evidence {
    let mut found = Evidence::default();
    for error in causes(error) {
        if !found.read(error) {
            break;
        }
    }
    found
}

/// Returns an error and its causes, as far as they concern this request. The source of a body and a resolver may make
/// requests of their own: their errors say nothing about this one.
pub(super) fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let mut is_over = false;
    let concerns = move |error: &&(dyn StdError + 'static)| {
        !std::mem::replace(&mut is_over, is_of_another(*error))
    };
    chain(error).take_while(concerns)
}

/// Returns whether the causes of this error concern another request.
fn is_of_another(error: &(dyn StdError + 'static)) -> bool {
    #[cfg(feature = "client")]
    if error.is::<DnsError>() {
        return true;
    }
    is_of_body(error)
}

/// Returns whether this is the error of a request body's source.
fn is_of_body(error: &(dyn StdError + 'static)) -> bool {
    let by_hyper = |error: &hyper::Error| error.is_user() && error.source().is_some();
    error.is::<BodyFailed>() || error.downcast_ref().is_some_and(by_hyper)
}

/// Returns whether the peer declared that it did not process the request.
#[cfg(feature = "reqwest")]
pub(crate) fn is_unprocessed(error: &(dyn StdError + 'static)) -> bool {
    let found = evidence(error);
    found.unprocessed && found.kind == Some(Kind::Unprocessed)
}

impl Evidence {
    /// Reads one error of the chain. Returns false if the causes behind it do not concern this call.
    fn read(&mut self, error: &(dyn StdError + 'static)) -> bool {
        if let Some(ours) = error.downcast_ref::<Error>() {
            let mut known = ours.diagnosis();
            if ours.timeline().is_some() {
                // The error belongs to a call of its own. The service that made that call may have made others before
                // it.
                known.effect = known.effect.unproved();
            }
            self.known = Some(known);
            return false;
        }
        if let Some(kind) = local(error) {
            self.kind = Some(kind);
            return false;
        }
        if is_of_body(error) {
            (self.kind, self.hop) = (Some(Kind::RequestBody), Some(Hop::Send));
            return false;
        }
        #[cfg(feature = "client")]
        if let Some(dns) = error.downcast_ref() {
            self.dns(dns);
            return false;
        }
        if let Some(TimeoutElapsed(which)) = error.downcast_ref() {
            self.kind = Some(Kind::Timeout);
            self.timeout_kind = Some(*which);
        } else if error.is::<tokio::time::error::Elapsed>() {
            self.kind = Some(Kind::Timeout);
        } else if let Some(io) = error.downcast_ref::<io::Error>() {
            self.io(io);
        } else if let Some(h2) = error.downcast_ref::<h2::Error>() {
            self.h2(h2);
        } else if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            self.hyper(hyper);
        } else {
            #[cfg(feature = "client")]
            self.client(error);
        }
        true
    }

    /// Reads a failed lookup. Its causes may be errors of other connections and of other calls. Of these, only a lack of
    /// local resources counts.
    #[cfg(feature = "client")]
    fn dns(&mut self, error: &DnsError) {
        let kind = match error.is_local() {
            true => Kind::LocalResources,
            false => error.reason().into(),
        };
        (self.kind, self.hop) = (Some(kind), Some(Hop::Dns));
        // A cached timeout of a lookup is still a timeout of the lookup.
        self.timeout_kind = (kind == Kind::Timeout).then_some(TimeoutKind::Dns);
    }

    fn io(&mut self, error: &io::Error) {
        self.kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Kind::Refused),
            // h2 reports the peer's FIN as a broken pipe without an OS error code.
            io::ErrorKind::BrokenPipe if error.raw_os_error().is_none() => Some(Kind::Incomplete),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Some(Kind::Reset),
            io::ErrorKind::UnexpectedEof => Some(Kind::Incomplete),
            io::ErrorKind::NotConnected => Some(Kind::Closed),
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied => Some(Kind::Unreachable),
            // The kernel gave up because the peer acknowledges no data.
            io::ErrorKind::TimedOut if self.is_of_connection || is_by_peer(error) => {
                Some(Kind::Unacknowledged)
            }
            // A timer of the user's code, which says nothing about the peer.
            io::ErrorKind::TimedOut => Some(Kind::Timeout),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Some(Kind::ProtocolError),
            _ => self.kind,
        };
    }

    fn h2(&mut self, error: &h2::Error) {
        self.is_of_connection = true;
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        self.kind = if error.is_io() {
            Some(Kind::Closed)
        } else if error.is_remote() && (refused || error.is_go_away()) {
            // RFC 9113 §8.7 and §6.8: in both cases the server did not process the stream.
            self.unprocessed = true;
            Some(Kind::Unprocessed)
        } else if error.is_remote() {
            self.stream = true;
            Some(Kind::Reset)
        } else {
            Some(Kind::ProtocolError)
        };
    }

    fn hyper(&mut self, error: &hyper::Error) {
        self.is_of_connection = true;
        if error.is_parse() {
            self.kind = Some(Kind::ProtocolError);
        } else if error.is_incomplete_message() {
            self.kind = Some(Kind::Incomplete);
        } else if error.is_canceled() || error.is_closed() || error.is_shutdown() {
            self.kind = Some(Kind::Closed);
        } else if error.is_timeout() {
            self.kind = Some(Kind::Unacknowledged);
        }
    }

    #[cfg(feature = "client")]
    fn client(&mut self, error: &(dyn StdError + 'static)) {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            self.setup = self.setup.and(Some(Hop::Tls));
            self.tls(tls);
        } else if let Some(refused) = error.downcast_ref::<TunnelRefused>() {
            self.kind = Some(refused.kind);
        } else if let Some(NetError::Io(io)) = error.downcast_ref() {
            // This error does not list the wrapped IO error among its causes.
            self.kind = local(io).or(self.kind);
        } else {
            #[cfg(feature = "reqwest")]
            self.reqwest(error);
            #[cfg(any(feature = "hyper-util", feature = "reqwest"))]
            self.connector(error);
            self.alert_by_message(&error.to_string());
        }
    }

    #[cfg(feature = "reqwest")]
    fn reqwest(&mut self, error: &(dyn StdError + 'static)) {
        let Some(error) = error.downcast_ref::<reqwest::Error>() else {
            return;
        };
        if error.is_builder() {
            (self.kind, self.hop) = (Some(Kind::InvalidRequest), Some(Hop::Encode));
        } else if error.is_timeout() {
            self.kind = Some(Kind::Timeout);
        }
    }

    #[cfg(feature = "client")]
    fn tls(&mut self, error: &rustls::Error) {
        use rustls::{CertificateError, Error};
        self.kind = Some(match error {
            Error::InvalidCertificate(reason) => match reason {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Kind::CertificateExpired,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Kind::CertificateWrongName,
                CertificateError::UnknownIssuer => Kind::CertificateUnknownIssuer,
                _ => Kind::CertificateInvalid,
            },
            Error::NoCertificatesPresented => Kind::CertificateInvalid,
            Error::AlertReceived(alert) => {
                self.refuses_certificate = REFUSE_CERTIFICATE.contains(alert);
                Kind::Alert
            }
            Error::DecryptError => {
                self.garbled = true;
                Kind::ProtocolError
            }
            _ => Kind::ProtocolError,
        });
    }

    /// h2 keeps only the message of rustls' error.
    #[cfg(feature = "client")]
    fn alert_by_message(&mut self, message: &str) {
        if !message.starts_with("received fatal alert: ") {
            return;
        }
        let mut refusals = REFUSE_CERTIFICATE.iter();
        self.refuses_certificate =
            refusals.any(|alert| rustls::Error::AlertReceived(*alert).to_string() == message);
        self.kind = Some(Kind::Alert);
    }
}

/// Returns whether a timeout was reported by the kernel, or by a connection of this crate.
fn is_by_peer(error: &io::Error) -> bool {
    #[cfg(feature = "client")]
    if error
        .get_ref()
        .is_some_and(|inner| inner.is::<Unacknowledged>())
    {
        return true;
    }
    error.raw_os_error().is_some()
}

/// In TLS 1.3 the client finishes the handshake and sends its request before the server accepts the client's
/// certificate. An alert of this list may therefore mean that the server did not read the request (RFC 8446 §6.2).
/// Other alerts do not prove that: a server may send `access_denied` and `handshake_failure` after it has read the
/// request.
#[cfg(feature = "client")]
const REFUSE_CERTIFICATE: [rustls::AlertDescription; 7] = {
    use rustls::AlertDescription as Alert;
    [
        Alert::CertificateRequired,
        Alert::BadCertificate,
        Alert::UnsupportedCertificate,
        Alert::CertificateExpired,
        Alert::CertificateRevoked,
        Alert::CertificateUnknown,
        Alert::UnknownCA,
    ]
};
