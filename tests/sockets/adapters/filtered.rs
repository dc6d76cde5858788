//! Tests that with a filter, every integration refuses a target that it cannot check. Such a target is an address in
//! any spelling, another scheme, or a connector that chooses the address itself. No request reaches this machine.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest_middleware::ClientBuilder;
use sevenhops::dns::AddressFilter;
use sevenhops::sdk::hyper::{ConnectorLayer, HyperParts, RequestBody, ResolverService};
use sevenhops::testing::{DnsScript, FaultServer, ScriptedDns};
use sevenhops::{Effect, Hop, Kind, StandardLayer, TransportBuilder};
use tokio::net::TcpStream;
use tower::{Layer, Service, ServiceExt};

use super::world::{BoxError, World, found, told};

/// A server on this machine, and an attacker who owns a search domain: every lookup there resolves to this machine.
struct Trap {
    world: World,
    server: FaultServer,
    /// A server at an address that the filter allows, and at the same port.
    allowed: FaultServer,
}

impl Trap {
    async fn new() -> Self {
        let world = World::new().await;
        let server = FaultServer::builder().start().await.unwrap();
        let beside = SocketAddr::new(ALLOWED.into(), server.addr().port());
        let allowed = FaultServer::builder().address(beside);
        let allowed = allowed.start().await.unwrap();
        for host in HOSTS.into_iter().chain(ALLOWED_HOSTS) {
            lead_home(&world.dns, &format!("{host}.evil.test"));
        }
        lead_home(&world.dns, "proxy.test");
        Self {
            world,
            server,
            allowed,
        }
    }

    fn transport(&self) -> TransportBuilder {
        let resolver = self.world.dns.resolver_builder().search(["evil.test"]);
        let transport = self.world.transport().filter(filter());
        transport.resolver(resolver.build().unwrap())
    }

    fn hops(&self) -> HyperParts {
        self.transport().build_hyper().unwrap()
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/", self.server.addr().port())
    }

    fn is_untouched(&self) {
        assert_eq!(self.server.connections(), 0);
        assert_eq!(self.world.dns.queries().len(), 0);
    }
}

fn lead_home(dns: &ScriptedDns, name: &str) {
    dns.set(name, DnsScript::addresses([IpAddr::from([127, 0, 0, 1])]));
}

fn filter() -> AddressFilter {
    AddressFilter::public_only().allow(IpAddr::from(ALLOWED).into())
}

/// 127.0.0.1, in spellings that only some programs accept.
const HOSTS: [&str; 6] = [
    "127.1",
    "0x7f.1",
    "0177.0.0.1",
    "2130706433",
    "0x7f000001",
    "127.0.0.1.",
];
/// The same for the allowed address. As names, they resolve to 127.0.0.1.
const ALLOWED_HOSTS: [&str; 3] = ["2130706440", "0x7f000008", "0177.0.0.010"];
const ALLOWED: [u8; 4] = [127, 0, 0, 8];

fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

fn filtered<T: std::fmt::Debug>(answered: Result<T, impl Into<BoxError>>, host: &str) {
    let expected = told(Hop::Dns, Kind::Filtered, Effect::None);
    assert_eq!(found(answered.map_err(Into::into)), expected, "{host}");
}

/// The same for a part alone: the client around it may have followed a redirect.
fn filtered_alone<T: std::fmt::Debug>(answered: Result<T, impl Into<BoxError>>, host: &str) {
    let expected = told(Hop::Dns, Kind::Filtered, Effect::Possible);
    assert_eq!(found(answered.map_err(Into::into)), expected, "{host}");
}

fn tcp(hops: &HyperParts) -> HttpConnector<ResolverService> {
    let mut tcp = HttpConnector::new_with_resolver(hops.resolver());
    tcp.enforce_http(false);
    tcp
}

#[tokio::test]
async fn client_and_transport_judge_addresses_in_any_spelling() {
    let trap = Trap::new().await;
    let timeouts = trap.world.settings();
    let resolver = trap.world.dns.resolver_builder().search(["evil.test"]);
    let client = sevenhops::Client::builder_from_config(timeouts)
        .transport(|transport| {
            transport
                .resolver(resolver.build().unwrap())
                .filter(filter())
        })
        .build()
        .unwrap();
    let transport = trap.transport().build().unwrap();
    for host in HOSTS.into_iter().chain(["%31%32%37.0.0.1"]) {
        let url = trap.url(host);
        if let Ok(uri) = url.parse::<Uri>() {
            filtered(transport.clone().oneshot(get(&uri.to_string())).await, host);
            filtered(client.get(&*url).send().await, host);
        } else {
            assert!(client.get(&*url).send().await.is_err());
        }
    }
    for (asked, host) in ALLOWED_HOSTS.into_iter().enumerate() {
        let url = trap.url(host);
        let answered = transport.clone().oneshot(get(&url)).await.unwrap();
        assert_eq!(answered.status(), 200, "{host}");
        let answered = client.get(&*url).send().await.unwrap();
        assert_eq!(answered.status(), 200, "{host}");
        assert_eq!(trap.allowed.requests_seen(), 2 * (asked + 1));
    }
    for url in ["foo://127.0.0.1/", "foo://0x7f.1:80/"] {
        assert!(client.get(url).send().await.is_err());
        assert!(transport.clone().oneshot(get(url)).await.is_err());
    }
    trap.is_untouched();
}

#[tokio::test]
async fn bare_client_and_middleware_judge_addresses_in_any_spelling() {
    let trap = Trap::new().await;
    let bare = trap.transport().build_reqwest().unwrap();
    let policies = StandardLayer::from_config(&trap.world.settings()).unwrap();
    let over_bare = ClientBuilder::new(bare.clone()).with(policies).build();
    for host in HOSTS.into_iter().chain(["%31%32%37.0.0.1"]) {
        let url = trap.url(host);
        filtered(bare.get(&url).send().await, host);
        filtered(over_bare.get(&url).send().await, host);
    }
    for host in ALLOWED_HOSTS {
        assert!(bare.get(trap.url(host)).send().await.is_ok(), "{host}");
        assert!(over_bare.get(trap.url(host)).send().await.is_ok());
    }
    assert_eq!(trap.allowed.requests_seen(), 2 * ALLOWED_HOSTS.len());
    assert!(bare.get("foo://127.0.0.1:1/").send().await.is_err());
    trap.is_untouched();
}

#[tokio::test]
async fn hyper_parts_judge_addresses_in_any_spelling_and_refuse_other_schemes() {
    let trap = Trap::new().await;
    let hops = trap.hops();
    let executor = TokioExecutor::new;
    let connector = hops.connector_layer().layer(tcp(&hops));
    let plain = Client::builder(executor()).build::<_, Full<Bytes>>(connector.clone());
    let pooled = Client::builder(executor()).build::<_, RequestBody<Full<Bytes>>>(connector);
    let pooled = hops.layer().layer(pooled);
    let port = trap.server.addr().port();
    let others = ["foo://127.0.0.1", "foo://0x7f.1", "unix://127.0.0.1"];
    let others = others.map(|url| format!("{url}:{port}/"));
    let urls = HOSTS.map(|host| trap.url(host)).into_iter().chain(others);
    for url in urls {
        filtered_alone(plain.request(get(&url)).await, &url);
        filtered(pooled.clone().oneshot(get(&url)).await, &url);
    }
    for url in ALLOWED_HOSTS.map(|host| trap.url(host)) {
        // The connector may read it in another way. The pool writes the address in its normal form.
        filtered_alone(plain.request(get(&url)).await, &url);
        let answered = pooled.clone().oneshot(get(&url)).await;
        assert_eq!(answered.unwrap().status(), 200, "{url}");
    }
    assert_eq!(trap.allowed.requests_seen(), ALLOWED_HOSTS.len());
    trap.is_untouched();
}

#[tokio::test]
async fn resolver_alone_reads_an_address_in_any_spelling_and_never_searches_for_it() {
    let trap = Trap::new().await;
    let filtering = trap.hops().resolver();
    let unfiltered = trap.transport().filter(AddressFilter::new());
    let unfiltered = unfiltered.build_hyper().unwrap().resolver();
    for host in HOSTS {
        let name: Name = host.parse().unwrap();
        let refused = filtering.clone().oneshot(name.clone()).await;
        filtered_alone(refused.map(drop), host);
        let address = unfiltered.clone().oneshot(name).await.unwrap().next();
        let expected: [IpAddr; 2] = [[127, 0, 0, 1].into(), [8, 8, 8, 8].into()];
        assert!(expected.contains(&address.unwrap().ip()), "{host}");
    }
    trap.is_untouched();
}

#[tokio::test]
async fn without_a_filter_the_pool_dials_the_canonical_address() {
    let trap = Trap::new().await;
    let hops = trap.transport().filter(AddressFilter::new());
    let hops = hops.build_hyper().unwrap();
    let connector = hops.connector_layer().layer(tcp(&hops));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let pooled = hops.layer().layer(client);
    for host in ["127.1", "0x7f.1", "2130706433"] {
        let response = pooled.clone().oneshot(get(&trap.url(host))).await;
        assert_eq!(response.unwrap().status(), 200, "{host}");
    }
    assert_eq!(trap.world.dns.queries().len(), 0);
    let seen = trap.server.requests();
    let authority = trap.server.addr().to_string();
    assert!(seen.iter().all(|seen| seen.headers["host"] == *authority));
}

/// A foreign connector that chooses its own address.
#[derive(Clone)]
struct Stubborn {
    to: SocketAddr,
    /// Asks for another name first, as a connector to a proxy does.
    asks: Option<ResolverService>,
}

impl Service<Uri> for Stubborn {
    type Response = Silent;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Silent, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let Self { to, asks } = self.clone();
        Box::pin(async move {
            if let Some(names) = asks {
                names.oneshot("proxy.test".parse::<Name>()?).await?;
            }
            Ok(Silent(TokioIo::new(TcpStream::connect(to).await?)))
        })
    }
}

/// A connection that does not report its peer, like one of a unix socket.
struct Silent(TokioIo<TcpStream>);

impl Connection for Silent {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Silent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Silent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn through(layer: ConnectorLayer, connector: Stubborn, url: &str) -> Result<u16, BoxError> {
    let client = Client::builder(TokioExecutor::new()).build(layer.layer(connector));
    Ok(client.request(get(url)).await?.status().as_u16())
}

#[tokio::test]
async fn connector_that_chooses_the_address_itself_gets_no_request_with_a_filter() {
    let trap = Trap::new().await;
    let stubborn = Stubborn {
        to: trap.server.addr(),
        asks: None,
    };
    for url in ["http://api.test/", "http://93.184.215.14/"] {
        let layer = trap.hops().connector_layer();
        filtered_alone(through(layer, stubborn.clone(), url).await, url);
    }
    assert_eq!(trap.server.requests_seen(), 0);
    let unfiltered = trap.transport().filter(AddressFilter::new());
    let layer = unfiltered.build_hyper().unwrap().connector_layer();
    let status = through(layer, stubborn, "http://api.test/").await;
    assert_eq!(status.unwrap(), 200);
}

#[tokio::test]
async fn connector_with_a_proxy_needs_proxy_filters() {
    let trap = Trap::new().await;
    let through_proxy = |hops: &HyperParts| {
        let connector = Stubborn {
            to: trap.server.addr(),
            asks: Some(hops.resolver()),
        };
        through(hops.connector_layer(), connector, "http://api.test/")
    };
    filtered_alone(through_proxy(&trap.hops()).await, "proxy.test");
    trap.is_untouched();
    let filtering = trap.transport().proxy_filters(true);
    let filtering = filtering.build_hyper().unwrap();
    assert_eq!(through_proxy(&filtering).await.unwrap(), 200);
}
