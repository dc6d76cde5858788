//! One TLS configuration for all connections, with an ear at the start of the handshake.

use std::sync::Arc;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, NamedGroup};

use super::connector;

/// Puts the ear in. rustls asks for a session to resume as a handshake begins, so the store is
/// where that can be heard; sessions are resumed as before.
pub(super) fn with_ear(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::store(Arc::new(Ear {
        sessions: ClientSessionMemoryCache::new(SESSIONS),
    }));
    config
}

/// Offers both versions of HTTP, unless it was said what to offer: reqwest does not for a configuration
/// that it is given, and HTTP/2 would silently never happen.
pub(super) fn with_alpn(mut config: ClientConfig) -> ClientConfig {
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    config
}

#[derive(Debug)]
struct Ear {
    sessions: ClientSessionMemoryCache,
}

impl ClientSessionStore for Ear {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        // Called when a handshake of TLS 1.3 is over, and by no other version.
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
        self.sessions.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.sessions.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.sessions.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        connector::handshake_begins(name);
        self.sessions.take_tls13_ticket(name)
    }
}

/// rustls keeps as many by default.
const SESSIONS: usize = 256;
