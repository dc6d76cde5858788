//! TLS configurations: session tickets, ALPN, the client's certificate.

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

/// The same configuration without the client's certificate, if it has any.
pub(super) fn without_identity(config: &ClientConfig) -> Option<ClientConfig> {
    config.client_auth_cert_resolver.has_certs().then(|| {
        let mut config = config.clone();
        config.client_auth_cert_resolver = Arc::new(NoIdentity);
        config
    })
}

/// A client that shows no certificate.
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

/// The same configuration with tickets of its own: those of one destination say nothing at another.
pub(super) fn with_tickets(config: &ClientConfig) -> ClientConfig {
    let mut config = config.clone();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_OF_ONE);
    config
}

/// Offers both versions of HTTP unless ALPN is set: rustls offers none by itself, and HTTP/2 would silently never
/// happen.
pub(super) fn with_alpn(mut config: ClientConfig) -> ClientConfig {
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    config
}

/// Of one destination: its address may lead to several servers.
const SESSIONS_OF_ONE: usize = 8;
