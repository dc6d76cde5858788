//! Tests that the client sends its certificate only to the origin that the caller named.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Identity, ProxyServer, Reply};
use sevenhops::{Client, Error, Hop, Kind};

use crate::net::Net;

struct World {
    net: Net,
    client: Client,
    /// Requires a client certificate.
    strict: FaultServer,
    /// Does not ask for a certificate, and redirects.
    start: FaultServer,
}

impl World {
    async fn new() -> Self {
        let net = Net::new().await;
        for name in ["other.test", "start.test"] {
            let here = DnsScript::addresses([[127, 0, 0, 1].into()]);
            net.dns.set(name, here);
        }
        let own: Identity = net.authority.issue(&["client.test"]).unwrap();
        let config = net.authority.client_config_as(&own);
        let client = net
            .builder()
            .transport(|transport| transport.tls(config))
            .build()
            .unwrap();
        let names = ["api.test", "other.test", "start.test"];
        let identity = net.authority.issue(&names).unwrap();
        let strict = identity.server_config_with_client_auth(&net.authority, &[]);
        let strict = FaultServer::builder().tls_config(strict);
        let start = FaultServer::builder().tls(identity);
        Self {
            client,
            strict: strict.start().await.unwrap(),
            start: start.start().await.unwrap(),
            net,
        }
    }

    fn strict_url(&self) -> String {
        format!("https://other.test:{}/", self.strict.addr().port())
    }

    async fn redirected(&self, status: StatusCode) -> Result<StatusCode, Error> {
        let moved = CannedResponse::new(status).header("location", &self.strict_url());
        self.start.on_request([Reply::from(moved)]);
        let url = format!("https://start.test:{}/", self.start.addr().port());
        let response = self
            .client
            .get(url)
            .options(|options| options.retry(false))
            .send()
            .await?;
        Ok(response.status())
    }
}

fn assert_not_shown(result: Result<StatusCode, Error>) {
    let error = result.expect_err("the certificate was shown");
    let told = (error.hop(), error.kind());
    assert_eq!(told, (Some(Hop::Tls), Kind::Alert), "{error}");
}

#[tokio::test]
async fn certificate_is_shown_to_the_origin_of_the_call() {
    let world = World::new().await;
    let response = world.client.get(world.strict_url()).send().await;
    assert_eq!(response.unwrap().status(), 200);
    // On the same origin, the client sends the certificate after a redirect too.
    let moved = CannedResponse::new(StatusCode::FOUND).header("location", "/there");
    world.strict.on_request([Reply::from(moved)]);
    let response = world.client.get(world.strict_url()).send().await;
    assert_eq!(response.unwrap().status(), 200);
}

#[tokio::test]
async fn certificate_is_not_shown_after_a_redirect() {
    let world = World::new().await;
    for status in [StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT] {
        assert_not_shown(world.redirected(status).await);
    }
    assert_eq!(world.strict.requests_seen(), 0);
}

#[tokio::test]
async fn connection_with_the_certificate_is_not_used_after_a_redirect() {
    let world = World::new().await;
    for _ in 0..2 {
        let response = world.client.get(world.strict_url()).send().await;
        response.unwrap().bytes().await.unwrap();
        assert_not_shown(world.redirected(StatusCode::FOUND).await);
    }
    assert_eq!(world.strict.requests_seen(), 2);
}

#[tokio::test]
async fn connection_without_the_certificate_is_not_used_by_a_direct_call() {
    let world = World::new().await;
    assert_not_shown(world.redirected(StatusCode::FOUND).await);
    let response = world.client.get(world.strict_url()).send().await;
    assert_eq!(response.unwrap().status(), 200);
}

#[tokio::test]
async fn redirect_to_an_origin_without_client_certificates_is_followed() {
    let world = World::new().await;
    let port = world.start.addr().port();
    let there = format!("https://other.test:{port}/");
    for _ in 0..2 {
        let moved = CannedResponse::new(StatusCode::FOUND).header("location", &there);
        world.start.on_request([Reply::from(moved)]);
        let url = format!("https://start.test:{port}/");
        let response = world.client.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap();
    }
    assert_eq!(world.start.connections(), 2, "each of them is kept");
}

#[tokio::test]
async fn plain_proxy_is_not_an_origin() {
    let world = World::new().await;
    let strict = world.strict.addr();
    let authority = format!("other.test:{}", strict.port());
    let proxy = ProxyServer::builder().route(&authority, strict);
    let proxy = proxy.start().await.unwrap();
    let own = world.net.authority.issue(&["client.test"]).unwrap();
    let config = world.net.authority.client_config_as(&own);
    let client = world
        .net
        .builder()
        .transport(|transport| transport.tls(config).proxy(proxy.url()));
    let client = client.build().unwrap();
    let response = client.get(world.strict_url()).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn certificate_is_not_shown_to_a_proxy() {
    let world = World::new().await;
    let own = world.net.authority.issue(&["client.test"]).unwrap();
    let config = world.net.authority.client_config_as(&own);
    // The same server is a proxy here, and forwards nothing.
    let client = world
        .net
        .builder()
        .transport(|transport| transport.tls(config).proxy(world.strict_url()));
    let client = client.build().unwrap();
    let error = client
        .get("http://api.test/")
        .options(|options| options.retry(false))
        .send()
        .await;
    let error = error.expect_err("the certificate was shown");
    assert_eq!(world.strict.requests_seen(), 0, "{error}");
}

/// A resolver whose first certificate comes after the client was built.
#[derive(Debug)]
struct Late {
    certificate: Arc<dyn ResolvesClientCert>,
    is_there: Arc<AtomicBool>,
}

impl ResolvesClientCert for Late {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let certificate = self.has_certs().then_some(&self.certificate);
        certificate.and_then(|certificate| certificate.resolve(hints, schemes))
    }

    fn has_certs(&self) -> bool {
        self.is_there.load(Ordering::SeqCst)
    }
}

/// Returns a TLS configuration whose certificate comes later.
fn late(world: &World) -> (rustls::ClientConfig, Arc<AtomicBool>) {
    let own = world.net.authority.issue(&["client.test"]).unwrap();
    let mut config = world.net.authority.client_config_as(&own);
    let is_there = Arc::new(AtomicBool::new(false));
    config.client_auth_cert_resolver = Arc::new(Late {
        certificate: config.client_auth_cert_resolver,
        is_there: Arc::clone(&is_there),
    });
    (config, is_there)
}

#[tokio::test]
async fn certificate_that_comes_after_the_build_is_not_shown_after_a_redirect() {
    let mut world = World::new().await;
    let (config, is_there) = late(&world);
    let builder = world.net.builder();
    let builder = builder.transport(|transport| transport.tls(config));
    world.client = builder.build().unwrap();
    // Without a certificate, calls and redirects share their connections.
    let port = world.start.addr().port();
    let there = format!("https://other.test:{port}/");
    let response = world.client.get(&there).send().await.unwrap();
    response.bytes().await.unwrap();
    let moved = CannedResponse::new(StatusCode::FOUND).header("location", &there);
    world.start.on_request([Reply::from(moved)]);
    let url = format!("https://start.test:{port}/");
    let response = world.client.get(url).send().await.unwrap();
    response.bytes().await.unwrap();
    assert_eq!(world.start.connections(), 2);
    is_there.store(true, Ordering::SeqCst);
    assert_not_shown(world.redirected(StatusCode::FOUND).await);
    let response = world.client.get(world.strict_url()).send().await;
    assert_eq!(response.unwrap().status(), 200);
    assert_not_shown(world.redirected(StatusCode::FOUND).await);
}

#[tokio::test]
async fn certificate_that_comes_after_the_build_is_not_shown_to_a_proxy() {
    let world = World::new().await;
    let (config, is_there) = late(&world);
    let builder = world.net.builder();
    let builder = builder.transport(|transport| transport.tls(config).proxy(world.strict_url()));
    let client = builder.build().unwrap();
    is_there.store(true, Ordering::SeqCst);
    let get = client.get("http://api.test/");
    let error = get.options(|options| options.retry(false)).send().await;
    let error = error.expect_err("the certificate was shown");
    assert_eq!(world.strict.requests_seen(), 0, "{error}");
}
