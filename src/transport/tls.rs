//! TLS configurations: session tickets, ALPN, the client's certificate.

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

/// Returns the same configuration without the client's certificate, also if that comes later.
pub(super) fn without_identity(config: &ClientConfig) -> ClientConfig {
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(NoIdentity);
    config
}

/// A resolver that has no client certificate.
#[derive(Debug)]
struct NoIdentity;

impl ResolvesClientCert for NoIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Returns the same configuration with its own tickets: those of one destination are useless at another.
pub(super) fn with_tickets(config: &ClientConfig) -> ClientConfig {
    let mut config = config.clone();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_OF_ONE);
    config
}

/// Offers both versions of HTTP unless ALPN is set. rustls offers none by itself, so HTTP/2 would silently never be
/// used.
pub(super) fn with_alpn(mut config: ClientConfig) -> ClientConfig {
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    config
}

/// The number of tickets for one destination: one address may have several servers behind it.
const SESSIONS_OF_ONE: usize = 8;
