//! The environment of the experiment: one client, a name server, an authority, and a stage for each fault.

use std::any::Any;
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sevenhops::RetryConfig;
use sevenhops::{
    Client, ClientBuilder, TimeoutsConfig,
    policy::retry::Backoff,
    testing::{DnsScript, FaultServer, Identity, ScriptedDns, TestCa},
};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn StdError + Send + Sync>>;

/// Planted in every place for secrets. It must never appear in the output.
pub(crate) const CANARY: &str = "canary-7f3a";

/// The path of all calls.
pub(crate) const PATH: &str = "/v1/charges";

/// The state that all cases share.
pub(crate) struct World {
    pub(crate) authority: TestCa,
    pub(crate) dns: ScriptedDns,
    pub(crate) client: Client,
    names: AtomicUsize,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let authority = TestCa::new()?;
        let dns = ScriptedDns::start().await?;
        let client = builder(&authority, &dns).build()?;
        let names = AtomicUsize::new(0);
        Ok(Self {
            authority,
            dns,
            client,
            names,
        })
    }

    /// Builds a client from the one configuration, changed for one case.
    pub(crate) fn client_with(
        &self,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client> {
        Ok(change(builder(&self.authority, &self.dns)).build()?)
    }

    /// Returns a name that was never looked up before.
    pub(crate) fn name(&self) -> String {
        format!("pay{}.test", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns a name for 127.0.0.1, with a certificate.
    pub(crate) fn host(&self) -> io::Result<(String, Identity)> {
        let name = self.name();
        self.dns
            .set(&name, DnsScript::addresses([[127, 0, 0, 1].into()]));
        let identity = self.authority.issue(&[&name])?;
        Ok((name, identity))
    }
}

/// The one configuration of all experiments. Its limits are short enough to wait for.
fn builder(authority: &TestCa, dns: &ScriptedDns) -> ClientBuilder {
    let short = Duration::from_millis(900);
    Client::builder(Duration::from_secs(10))
        .config(|config| {
            config
                .timeouts(
                    TimeoutsConfig::new()
                        .attempt(Duration::from_secs(5))
                        .dns(short)
                        .connect(short)
                        .tls(short)
                        .send(Duration::from_millis(600))
                        .first_byte(Duration::from_millis(1_200))
                        .body_idle(short),
                )
                .retry(
                    RetryConfig::new()
                        .attempts(2)
                        .unsent_attempts(2)
                        .backoff(Backoff::new().base(Duration::from_millis(20))),
                )
        })
        .transport(|transport| {
            transport
                .tls(authority.client_config())
                .resolver(dns.resolver())
        })
}

/// How a request reaches its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// On a new connection.
    Fresh,
    /// On a connection that has carried a request before.
    Pooled,
    /// On a new HTTP/2 connection.
    Http2,
}

impl Connection {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Pooled => "pooled",
            Self::Http2 => "http2",
        }
    }
}

/// The setup of one call that will fail.
pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) server: Option<FaultServer>,
    pub(crate) client: Client,
    pub(crate) shape: Shape,
    /// Values that must live as long as the call.
    pub(crate) keep: Vec<Box<dyn Any + Send + Sync>>,
    /// The address for plain reqwest, which cannot use our name server.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) proxy: Option<String>,
    /// Whether a successful call comes first, so that the connection is a pooled one.
    pub(crate) primed: bool,
}

/// The shape of the call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) body_bytes: usize,
    pub(crate) broken: Option<Broken>,
}

/// A request that cannot be encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Broken {
    Header,
    Body,
}

impl World {
    /// Sets up a stage with a server.
    pub(crate) async fn stage(&self, connection: Connection, tls: bool) -> Result<Stage> {
        let (name, identity) = self.host()?;
        let mut server = FaultServer::builder();
        if tls {
            server = server.tls(identity);
        }
        if connection == Connection::Http2 {
            server = server.http2();
        }
        let server = server.start().await?;
        let scheme = if tls { "https" } else { "http" };
        let mut stage = self.bare_stage(&name, scheme, server.addr());
        stage.primed = connection == Connection::Pooled;
        stage.server = Some(server);
        Ok(stage)
    }

    /// Sets up a stage for a name and a port, without a server.
    pub(crate) fn bare_stage(&self, name: &str, scheme: &str, address: SocketAddr) -> Stage {
        let port = address.port();
        Stage {
            url: format!("{scheme}://{name}:{port}{PATH}?key={CANARY}"),
            server: None,
            client: self.client.clone(),
            shape: Shape {
                body_bytes: 32,
                broken: None,
            },
            keep: Vec::new(),
            address: Some(address),
            proxy: None,
            primed: false,
        }
    }
}
