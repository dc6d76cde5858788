//! Takes part in the TLS handshakes of clients with connections of their own. Detects their start. Withholds the
//! client's certificate from other origins and from proxies.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption,
    Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, NamedGroup, SignatureScheme};

use super::connector;
use crate::record::Tickets;

/// Wraps the session store and the resolver of the client's certificate. rustls asks the store for a session at the
/// start of a handshake, so the store sees that start. Sessions are resumed as before, but not after a redirect to
/// another origin: a resumed session is that of the certificate that was shown.
pub(super) fn with_observer(mut config: ClientConfig, shown: &Arc<ShownTo>) -> ClientConfig {
    config.client_auth_cert_resolver = Arc::new(OwnOriginOnly {
        certificate: config.client_auth_cert_resolver,
        shown: Arc::clone(shown),
    });
    config.resumption = Resumption::store(Arc::new(ObservedSessions {
        sessions: ClientSessionMemoryCache::new(SESSIONS),
        tickets: std::array::from_fn(|_| Arc::default()),
    }));
    config
}

/// Shows the client's certificate only to the origin that the caller named.
#[derive(Debug)]
struct OwnOriginOnly {
    certificate: Arc<dyn ResolvesClientCert>,
    shown: Arc<ShownTo>,
}

impl ResolvesClientCert for OwnOriginOnly {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let certificate = self.certificate.resolve(hints, schemes)?;
        connector::may_show_identity().then(|| {
            self.shown
                .note(connector::setup().and_then(|setup| setup.place()));
            certificate
        })
    }

    fn only_raw_public_keys(&self) -> bool {
        self.certificate.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.certificate.has_certs()
    }
}

/// The places that have got the client's certificate. Connections to them may be in the pool.
#[derive(Default)]
pub(super) struct ShownTo(Mutex<Places>);

#[derive(Default)]
struct Places {
    known: HashSet<Place>,
    /// Whether it was shown to other places, too.
    are_more: bool,
}

/// A host and a port.
pub(super) type Place = (Arc<str>, u16);

impl ShownTo {
    fn note(&self, place: Option<Place>) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match place.filter(|_| places.known.len() < MOST_PLACES) {
            Some(place) => _ = places.known.insert(place),
            None => places.are_more = true,
        }
    }

    /// Returns whether the certificate may have been shown to this place.
    #[cfg(feature = "hyper-util")]
    pub(super) fn may_have(&self, place: &Place) -> bool {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.are_more || places.known.contains(place)
    }
}

impl fmt::Debug for ShownTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShownTo").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct ObservedSessions {
    sessions: ClientSessionMemoryCache,
    /// The number of tickets that have come, by the hash of the server's name.
    tickets: [Arc<AtomicU32>; COUNTERS],
}

impl ObservedSessions {
    fn tickets(&self, name: &ServerName<'_>) -> &Arc<AtomicU32> {
        let mut hasher = DefaultHasher::new();
        name.to_str().hash(&mut hasher);
        let at = hasher.finish() % (COUNTERS as u64);
        &self.tickets[at as usize]
    }
}

impl ClientSessionStore for ObservedSessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        // Called only by TLS 1.3, at the end of a handshake.
        connector::handshake_was_1_3(&name);
        self.sessions.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.sessions.set_tls12_session(name, value);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let may_resume = !connector::is_led_away();
        may_resume
            .then(|| self.sessions.tls12_session(name))
            .flatten()
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.sessions.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        // Called on the connection's task, which does not know the attempt. The attempt that began a handshake with
        // this name compares the counts.
        self.tickets(&name).fetch_add(1, Ordering::AcqRel);
        self.sessions.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        connector::handshake_begins(name, || Tickets::since_now(self.tickets(name)));
        let may_resume = !connector::is_led_away();
        may_resume
            .then(|| self.sessions.take_tls13_ticket(name))
            .flatten()
    }
}

/// More servers with client certificates than a client calls.
const MOST_PLACES: usize = 1_024;
/// The default of rustls.
const SESSIONS: usize = 256;
/// Large enough that the tickets of other servers seldom count as this server's.
const COUNTERS: usize = 64;

#[cfg(all(test, feature = "testing"))]
mod tests {
    use rustls::{ClientConnection, ServerConnection};

    use super::*;
    use crate::box_error::BoxError;
    use crate::testing::TestCa;

    /// Carries all bytes between the two.
    fn carry(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), BoxError> {
        for _ in 0..4 {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut there)?;
            }
            server.read_tls(&mut &there[..])?;
            server.process_new_packets()?;
            while server.wants_write() {
                server.write_tls(&mut back)?;
            }
            client.read_tls(&mut &back[..])?;
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn ticket_that_comes_is_counted_for_its_server() {
        let authority = TestCa::new().unwrap();
        let identity = authority.issue(&["api.test"]).unwrap();
        let ear = Arc::new(ObservedSessions {
            sessions: ClientSessionMemoryCache::new(SESSIONS),
            tickets: std::array::from_fn(|_| Arc::default()),
        });
        let mut config = authority.client_config();
        let name = ServerName::try_from("api.test").unwrap();
        config.resumption = Resumption::store(Arc::clone(&ear) as _);
        let tickets = Tickets::since_now(ear.tickets(&name));
        let mut client = ClientConnection::new(config.into(), name.clone()).unwrap();
        let mut server = ServerConnection::new(identity.server_config(&[])).unwrap();
        assert!(!tickets.came());
        carry(&mut client, &mut server).unwrap();
        assert!(!client.is_handshaking() && tickets.came());
        assert!(!Tickets::since_now(ear.tickets(&name)).came());
    }
}
