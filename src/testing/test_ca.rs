//! Certificates for one test, from an authority that only the test trusts.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate authority made for one test.
///
/// # Example
///
/// ```
/// use sevenhops::testing::TestCa;
///
/// # fn main() -> std::io::Result<()> {
/// let authority = TestCa::new()?;
/// let identity = authority.issue(&["api.test", "127.0.0.1"])?;
///
/// let server = identity.server_config(&[b"http/1.1"]);
/// let client = authority.client_config(); // trusts only this authority
/// # assert_eq!(server.alpn_protocols, [b"http/1.1"]);
/// # assert!(client.alpn_protocols.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// # How people get it wrong
///
/// They use one authority for "the right server" and "the wrong server". A certificate from an unknown issuer needs a
/// second `TestCa`.
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl TestCa {
    /// Creates an authority with a new key and a name of its own.
    ///
    /// # Errors
    ///
    /// Fails if the system has no randomness for a key.
    pub fn new() -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let ordinal = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        let mut params = params(&format!("sevenhops test authority {ordinal}"), YEARS_VALID);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self {
            root: root.der().clone(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Returns the root certificate, for clients that keep their own list of roots.
    #[must_use]
    pub fn root(&self) -> CertificateDer<'static> {
        self.root.clone()
    }

    /// Issues a valid certificate for `names`. Names that parse as an address become addresses.
    ///
    /// # Errors
    ///
    /// Fails if a name is not ASCII.
    pub fn issue(&self, names: &[&str]) -> io::Result<Identity> {
        self.issue_for(names, YEARS_VALID)
    }

    /// Issues a certificate that expired in 2001.
    ///
    /// # Errors
    ///
    /// Fails if a name is not ASCII.
    pub fn issue_expired(&self, names: &[&str]) -> io::Result<Identity> {
        self.issue_for(names, YEARS_EXPIRED)
    }

    /// Returns a client config that trusts only this root and offers no ALPN protocol.
    ///
    /// # Panics
    ///
    /// Never: the root was made here, and the provider has every default version.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        self.client_builder().with_no_client_auth()
    }

    /// Returns the same config for a client that sends the certificate of `identity` if the server requests one.
    ///
    /// # Panics
    ///
    /// Never: the key of an [`Identity`] fits its certificate.
    #[must_use]
    pub fn client_config_as(&self, identity: &Identity) -> ClientConfig {
        self.client_builder()
            .with_client_auth_cert(identity.chain(), identity.key.clone_key())
            .expect("the key fits the certificate")
    }

    fn client_builder(
        &self,
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(self.roots())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root()).expect("the root was made here");
        roots
    }

    fn issue_for(&self, names: &[&str], years: (i32, i32)) -> io::Result<Identity> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = params("sevenhops test server", years);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        for name in names {
            params.subject_alt_names.push(alternative_name(name)?);
        }
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(io::Error::other)?;
        Ok(Identity {
            certificate: certificate.der().clone(),
            key: Arc::new(key.into()),
        })
    }
}

impl fmt::Debug for TestCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCa").finish_non_exhaustive()
    }
}

/// A certificate and its private key.
#[derive(Clone)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl Identity {
    /// Returns a server config with this certificate and the ALPN protocols `alpn`.
    ///
    /// # Panics
    ///
    /// Never: the key of an [`Identity`] fits its certificate.
    #[must_use]
    pub fn server_config(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        self.finish(server_builder().with_no_client_auth(), alpn)
    }

    /// Returns the same config for a server that requires a certificate from `authority`.
    ///
    /// In TLS 1.3 a client without a certificate learns of this only after its handshake. The alert "certificate
    /// required" arrives while the client waits for its first response.
    ///
    /// # Panics
    ///
    /// Never: the key of an [`Identity`] fits its certificate.
    #[must_use]
    pub fn server_config_with_client_auth(
        &self,
        authority: &TestCa,
        alpn: &[&[u8]],
    ) -> Arc<ServerConfig> {
        let roots = Arc::new(authority.roots());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .build()
            .expect("there is one root");
        self.finish(server_builder().with_client_cert_verifier(verifier), alpn)
    }

    fn finish(
        &self,
        builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
        alpn: &[&[u8]],
    ) -> Arc<ServerConfig> {
        let mut config = builder
            .with_single_cert(self.chain(), self.key.clone_key())
            .expect("the key fits the certificate");
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

fn server_builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
}

/// The provider is set explicitly, because the default of the process may be missing or different.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn params(common_name: &str, (from, until): (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

fn alternative_name(name: &str) -> io::Result<SanType> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let name = name
        .try_into()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(SanType::DnsName(name))
}

/// A part of an authority's name. If two roots had the same name, a certificate from the other root would look badly
/// signed, not issued by an unknown authority.
static AUTHORITIES: AtomicU64 = AtomicU64::new(1);

/// Fixed years: a certificate is checked against a clock, but can be created without one.
const YEARS_VALID: (i32, i32) = (2000, 2100);
const YEARS_EXPIRED: (i32, i32) = (2000, 2001);
