//! The faults that every integration is tested with.
#![allow(
    clippy::allow_attributes,
    dead_code,
    unreachable_pub,
    reason = "no way in needs all of it"
)]

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use sevenhops::RetryConfig;
use sevenhops::TimeoutsConfig;
use sevenhops::{
    Client, Config, Effect, Hop, Kind, Timeouts, Transport, TransportBuilder,
    dns::{self, Resolution, Resolve},
    policy::retry::Backoff,
    sdk,
    testing::{
        BlackHole, CannedResponse, ClosedPort, ConnFault, DnsScript, FaultServer, Reply,
        ScriptedDns, TestCa,
    },
};

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// The faults of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// F3: DNS never answers.
    DnsSilent,
    /// F5: no process listens at the port.
    Refused,
    /// F7: accepts, never speaks TLS.
    TlsSilent,
    /// F9: no trusted authority signed the certificate.
    UnknownIssuer,
    /// F14: takes the request, never responds.
    Silent,
    /// F19: 100 bytes announced, 50 sent.
    Truncated,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] = [
        Self::DnsSilent,
        Self::Refused,
        Self::TlsSilent,
        Self::UnknownIssuer,
        Self::Silent,
        Self::Truncated,
    ];

    /// Returns the expected diagnosis if every hop is seen.
    pub(crate) fn named(self) -> Told {
        match self {
            Self::DnsSilent => told(Hop::Dns, Kind::Timeout, Effect::None),
            Self::Refused => told(Hop::Connect, Kind::Refused, Effect::None),
            Self::TlsSilent => told(Hop::Tls, Kind::Timeout, Effect::None),
            Self::UnknownIssuer => told(Hop::Tls, Kind::CertificateUnknownIssuer, Effect::None),
            Self::Silent => told(Hop::Server, Kind::Timeout, Effect::Possible),
            Self::Truncated => told(Hop::Receive, Kind::Incomplete, Effect::Done),
        }
    }
}

/// The hop, kind and effect of an error.
pub(crate) type Told = (Option<Hop>, Kind, Effect);

pub(crate) fn told(hop: impl Into<Option<Hop>>, kind: Kind, effect: Effect) -> Told {
    (hop.into(), kind, effect)
}

/// Returns the diagnosis in the error of a failed call.
pub(crate) fn found<T: Debug>(answered: Result<T, BoxError>) -> Told {
    let error = answered.unwrap_err();
    let found = sdk::classify_error(&*error);
    (found.hop(), found.kind(), found.effect())
}

/// A name server and a certificate authority.
pub(crate) struct World {
    pub(crate) authority: TestCa,
    pub(crate) dns: ScriptedDns,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dns = ScriptedDns::start().await.unwrap();
        dns.set(NAME, DnsScript::addresses([host(1)]));
        let authority = TestCa::new().unwrap();
        Self { authority, dns }
    }

    /// Returns the settings of all stacks: limits short enough to wait for, two attempts.
    pub(crate) fn settings(&self) -> Config {
        let short = Duration::from_millis(400);
        let timeouts = TimeoutsConfig::new()
            .attempt(Duration::from_millis(1_500))
            .dns(short)
            .connect(short)
            .tls(short)
            .send(short)
            .first_byte(Duration::from_millis(600))
            .body_idle(short);
        let backoff = Backoff::new().base(Duration::from_millis(20));
        Config::new(DEADLINE).timeouts(timeouts).retry(
            RetryConfig::new()
                .attempts(2)
                .unsent_attempts(2)
                .backoff(backoff),
        )
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        let short = Duration::from_millis(400);
        let timeouts = TimeoutsConfig::new().dns(short).connect(short).tls(short);
        Timeouts::from_config(DEADLINE, timeouts).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::builder_from_config(self.settings())
            .transport(|transport| {
                transport
                    .tls(self.authority.client_config())
                    .resolver(self.dns.resolver())
            })
            .build()
            .unwrap()
    }

    pub(crate) fn transport(&self) -> TransportBuilder {
        Transport::builder(self.timeouts())
            .tls(self.authority.client_config())
            .resolver(self.dns.resolver())
    }

    /// Starts a server without faults.
    pub(crate) async fn server(&self) -> FaultServer {
        let identity = self.authority.issue(&[NAME]).unwrap();
        FaultServer::builder().tls(identity).start().await.unwrap()
    }

    /// Prepares this fault.
    pub(crate) async fn stage(&self, fault: Fault) -> Stage {
        if fault == Fault::Refused {
            let port = ClosedPort::new().unwrap();
            return Stage {
                url: format!("https://{NAME}:{}", port.addr().port()),
                server: None,
                _keep: Box::new(port),
            };
        }
        let server = self.server().await;
        match fault {
            Fault::DnsSilent => self.dns.set(NAME, DnsScript::Silent),
            Fault::Refused => {}
            Fault::TlsSilent => server.on_connection(vec![ConnFault::Silent; 2]),
            Fault::UnknownIssuer => {
                let wrong = TestCa::new().unwrap().issue(&[NAME]).unwrap();
                server.on_connection(vec![ConnFault::WrongCertificate(wrong); 2]);
            }
            Fault::Silent => server.default_reply(Reply::Silent),
            Fault::Truncated => server.default_reply(Reply::TruncateBody {
                declared: 100,
                sent: vec![b' '; 50].into(),
            }),
        }
        Stage {
            url: base(&server),
            server: Some(server),
            _keep: Box::new(()),
        }
    }
}

/// The target of a call.
pub(crate) struct Stage {
    /// The base URL, without a path.
    pub(crate) url: String,
    pub(crate) server: Option<FaultServer>,
    _keep: Box<dyn Any>,
}

impl Stage {
    pub(crate) fn requests(&self) -> usize {
        self.server.as_ref().map_or(0, FaultServer::requests_seen)
    }
}

/// The base URL of a server.
pub(crate) fn base(server: &FaultServer) -> String {
    format!("https://{NAME}:{}", server.addr().port())
}

/// Returns a 429 that asks for an immediate retry.
pub(crate) fn throttled() -> Reply {
    let status = StatusCode::TOO_MANY_REQUESTS;
    CannedResponse::new(status)
        .header("retry-after", "1")
        .into()
}

/// Returns the idempotency keys of the received requests.
pub(crate) fn keys(server: &FaultServer) -> Vec<Option<String>> {
    let requests = server.requests().into_iter();
    let keys =
        requests.map(|seen| Some(seen.headers.get("idempotency-key")?.to_str().ok()?.into()));
    keys.collect()
}

/// A resolver whose address can be changed.
#[derive(Clone, Debug)]
pub(crate) struct Moving(Arc<Mutex<IpAddr>>);

impl Moving {
    pub(crate) fn at(last: u8) -> Self {
        Self(Arc::new(Mutex::new(host(last))))
    }

    pub(crate) fn move_to(&self, last: u8) {
        *self.0.lock().unwrap() = host(last);
    }
}

impl Resolve for Moving {
    fn resolve(&self, host: &str) -> Resolution {
        let address = *self.0.lock().unwrap();
        let answer = dns::Answer::new([address], Duration::from_secs(1));
        Resolution::Cached(
            answer.ok_or_else(|| dns::DnsError::new(host, dns::DnsErrorReason::NoRecords)),
        )
    }
}

/// Two servers that share a port: DNS resolves to the first, and then to the second.
pub(crate) struct Move {
    pub(crate) dns: Moving,
    pub(crate) before: FaultServer,
    pub(crate) after: FaultServer,
}

impl Move {
    pub(crate) async fn new(world: &World) -> Self {
        Self::of(world, false).await
    }

    /// Starts both servers, over HTTP/2 or HTTP/1.
    pub(crate) async fn of(world: &World, http2: bool) -> Self {
        let start = async |last, port| {
            let identity = world.authority.issue(&[NAME]).unwrap();
            let mut server = FaultServer::builder().tls(identity);
            if http2 {
                server = server.http2();
            }
            let server = server.address(SocketAddr::new(host(last), port));
            server.start().await.unwrap()
        };
        let before = start(1, 0).await;
        let after = start(2, before.addr().port()).await;
        let dns = Moving::at(1);
        Self { dns, before, after }
    }

    /// Returns how many requests each of them has seen.
    pub(crate) fn seen(&self) -> (usize, usize) {
        (self.before.requests_seen(), self.after.requests_seen())
    }
}

/// A name with three addresses. The first one does not respond.
pub(crate) struct Street {
    pub(crate) url: String,
    server: FaultServer,
    _dark: BlackHole,
    _other: FaultServer,
}

impl Street {
    pub(crate) async fn new(world: &World) -> Self {
        let start = async |last, port| {
            let identity = world.authority.issue(&[NAME]).unwrap();
            let server = FaultServer::builder().tls(identity);
            let server = server.address(SocketAddr::new(host(last), port));
            server.start().await.unwrap()
        };
        let server = start(22, 0).await;
        let port = server.addr().port();
        let dark = BlackHole::start_at(SocketAddr::new(host(21), port));
        Self {
            url: base(&server),
            _dark: dark.await.unwrap(),
            _other: start(23, port).await,
            server,
        }
    }

    /// Returns a transport with the limits that are derived from ten seconds: 2.5 s for the connect.
    pub(crate) fn transport(&self, world: &World) -> TransportBuilder {
        let addresses = [host(21), host(22), host(23)];
        Transport::builder(Timeouts::new(TEN_SECONDS).unwrap())
            .tls(world.authority.client_config())
            .resolver(dns::StaticResolver::new().host(NAME, addresses))
    }

    /// Makes concurrent calls, each on its own client.
    pub(crate) async fn all_within_the_connect_limit(
        &self,
        calls: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>,
    ) {
        let begun = tokio::time::Instant::now();
        let made = calls.collect::<tokio::task::JoinSet<_>>().join_all().await;
        let (share, limit) = (
            Duration::from_millis(2_500 / 3),
            Duration::from_millis(2_500),
        );
        let took = begun.elapsed();
        assert!(took >= share, "the first address is dark: {took:?}");
        assert!(took < limit, "{took:?}");
        assert_eq!(self.server.requests_seen(), made.len());
    }
}

fn host(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

pub(crate) const NAME: &str = "api.test";
pub(crate) const TEN_SECONDS: Duration = Duration::from_secs(10);
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);
