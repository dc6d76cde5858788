//! Tests what a TLS alert proves, on real loopback sockets. The server decides when it sends the alert.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, ServerConnection,
    SignatureScheme,
};
use sevenhops::testing::TestCa;
use sevenhops::{Blame, Client, Effect, Error, Hop, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::net::Net;

/// A server that handles every connection with one function, and counts them.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicU32>,
}

impl Server {
    async fn start<F>(config: Arc<ServerConfig>, serve: fn(Tls) -> F) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU32::new(0));
        let counting = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counting.fetch_add(1, Ordering::AcqRel);
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                tokio::spawn(serve(Tls { tcp, session }));
            }
        });
        Self {
            address,
            connections,
        }
    }

    fn url(&self) -> String {
        format!("https://api.test:{}/v1/charges", self.address.port())
    }
}

/// A TLS session driven by hand, so that the test decides when the server's alert is sent.
struct Tls {
    tcp: TcpStream,
    session: ServerConnection,
}

impl Tls {
    async fn flush(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut out)?;
        }
        self.tcp.write_all(&out).await
    }

    /// Reads some bytes. Returns false at the end, or after the session failed and its alert was sent.
    async fn step(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4 << 10];
        let read = self.tcp.read(&mut piece).await?;
        self.session.read_tls(&mut &piece[..read])?;
        let processed = self.session.process_new_packets();
        self.flush().await?;
        Ok(read > 0 && processed.is_ok())
    }

    /// Reads a whole request.
    async fn request(&mut self) -> io::Result<Vec<u8>> {
        let mut request = Vec::new();
        while !request.ends_with(b"amount=100") && !request.ends_with(b"\r\n\r\n") {
            if !self.step().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let _ = io::Read::read_to_end(&mut self.session.reader(), &mut request);
        }
        Ok(request)
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        io::Write::write_all(&mut self.session.writer(), text.as_bytes())?;
        self.flush().await
    }

    /// Gives the session a record that the client did not send: it responds with bad_record_mac.
    async fn bad_record_mac(&mut self) -> io::Result<()> {
        let mut record = vec![23, 3, 3, 0, 32];
        record.extend([7; 32]);
        self.session.read_tls(&mut &record[..])?;
        assert!(self.session.process_new_packets().is_err());
        self.flush().await?;
        self.drain().await
    }

    /// Reads the rest, so that closing the socket does not cause a reset that arrives before the alert.
    async fn drain(&mut self) -> io::Result<()> {
        let mut piece = [0; 1 << 10];
        while self.tcp.read(&mut piece).await? > 0 {}
        Ok(())
    }
}

/// Does the work, and then fails the session instead of responding.
async fn charge_and_alert(mut tls: Tls) -> io::Result<()> {
    tls.request().await?;
    tls.bad_record_mac().await
}

/// Responds with half of a body, and then fails the session.
async fn half_a_body_and_alert(mut tls: Tls) -> io::Result<()> {
    tls.request().await?;
    tls.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ")
        .await?;
    tls.bad_record_mac().await
}

/// Makes the handshake. Reports a wrong client certificate at once.
async fn shake_hands(mut tls: Tls) -> io::Result<()> {
    while tls.step().await? {}
    tls.drain().await
}

/// Rejects every client certificate with the same error.
#[derive(Debug)]
struct Verdict(Arc<dyn ClientCertVerifier>, CertificateError);

impl ClientCertVerifier for Verdict {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Err(self.1.clone().into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn plain(authority: &TestCa) -> Arc<ServerConfig> {
    authority.issue(&["api.test"]).unwrap().server_config(&[])
}

/// Returns the config of a server that rejects the client's certificate with this error.
fn refusing(authority: &TestCa, verdict: CertificateError) -> Arc<ServerConfig> {
    let identity = authority.issue(&["api.test"]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.root()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let known = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let verifier = Verdict(known.build().unwrap(), verdict);
    let resolver = identity.server_config(&[]).cert_resolver.clone();
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_client_cert_verifier(Arc::new(verifier));
    Arc::new(builder.with_cert_resolver(resolver))
}

async fn post(client: &Client, server: &Server) -> Error {
    let request = client.post(server.url()).body("amount=100");
    request
        .options(|options| options.generate_key(false))
        .send()
        .await
        .unwrap_err()
}

#[tokio::test]
async fn alert_after_the_request_was_read_fails_the_wait_with_effect_possible() {
    let net = Net::new().await;
    let server = Server::start(plain(&net.authority), charge_and_alert).await;
    let error = post(&net.client(), &server).await;
    let told = (error.hop(), error.kind(), error.effect());
    let expected = (Some(Hop::Server), Kind::Alert, Effect::Possible);
    assert_eq!(told, expected, "{error:?}");
    assert!(!error.is_connect() && !error.had_no_effect());
    assert_eq!(server.connections.load(Ordering::Acquire), 1);

    // A GET may be retried.
    let error = net.client().get(server.url()).send().await.unwrap_err();
    assert_eq!((error.attempts(), error.kind()), (3, Kind::Alert));
}

#[tokio::test]
async fn alert_that_does_not_refuse_the_certificate_proves_nothing_on_a_fresh_connection() {
    let net = Net::new().await;
    // A server may also send access_denied after it has read the request.
    let denied = CertificateError::ApplicationVerificationFailure;
    let server = Server::start(refusing(&net.authority, denied), shake_hands).await;
    let own = net.authority.issue(&["client.test"]).unwrap();
    let client = net
        .builder()
        .transport(|transport| transport.tls(net.authority.client_config_as(&own)));
    let error = post(&client.build().unwrap(), &server).await;
    assert_eq!(error.kind(), Kind::Alert, "{error:?}");
    assert!(error.effect() >= Effect::Possible, "{error:?}");
    assert_ne!(error.hop(), Some(Hop::Tls), "{error:?}");
}

#[tokio::test]
async fn alert_that_refuses_the_certificate_proves_that_nothing_was_read() {
    let net = Net::new().await;
    for verdict in [
        CertificateError::BadEncoding,
        CertificateError::Revoked,
        CertificateError::Expired,
        CertificateError::UnknownIssuer,
    ] {
        let config = refusing(&net.authority, verdict.clone());
        let server = Server::start(config, shake_hands).await;
        let own = net.authority.issue(&["client.test"]).unwrap();
        let client = net
            .builder()
            .transport(|transport| transport.tls(net.authority.client_config_as(&own)));
        let error = post(&client.build().unwrap(), &server).await;
        let told = (error.hop(), error.kind(), error.effect());
        let expected = (Some(Hop::Tls), Kind::Alert, Effect::None);
        assert_eq!(told, expected, "{verdict:?}: {error:?}");
        assert!(error.is_connect() && error.had_no_effect());
    }
}

#[tokio::test]
async fn alert_in_the_middle_of_a_body_is_a_body_that_broke_off() {
    let net = Net::new().await;
    let server = Server::start(plain(&net.authority), half_a_body_and_alert).await;
    let fetched = net.client().get(server.url()).fetch_bytes().await;
    let error = fetched.unwrap_err();
    let told = (error.hop(), error.kind(), error.effect());
    let expected = (Some(Hop::Receive), Kind::Alert, Effect::Done);
    assert_eq!(told, expected, "{error:?}");
    assert!(!error.is_connect());
    assert_eq!(error.blame(), Blame::Network);
    assert_eq!(error.attempts(), 3, "it is received again: {error}");
}
