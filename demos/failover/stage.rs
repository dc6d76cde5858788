//! One run: two servers, a name that moves between them, and one client's traffic.

use std::any::Any;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sevenhops::testing::{BlackHole, DnsScript, FaultServer, Identity, Reply, ScriptedDns, TestCa};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use crate::Result;
use crate::caller::{Caller, Who};
use crate::ledger::{Books, Ledger};

/// The state that all runs share.
pub(crate) struct Net {
    pub(crate) dns: ScriptedDns,
    pub(crate) authority: TestCa,
}

impl Net {
    pub(crate) async fn new() -> Result<Self> {
        Ok(Self {
            dns: ScriptedDns::start().await?,
            authority: TestCa::new()?,
        })
    }
}

/// The protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Http1,
    Http1Tls,
    Http2Tls,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Http1, Self::Http1Tls, Self::Http2Tls];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "h1",
            Self::Http1Tls => "h1 in TLS",
            Self::Http2Tls => "h2 in TLS",
        }
    }
}

/// The end of a server that goes dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dark {
    /// Its connections are closed, and its port refuses.
    Refuses,
    /// Its connections are closed, and its port drops connects.
    Swallows,
    /// It takes connections and requests, and never responds.
    Silent,
}

impl Dark {
    pub(crate) const ALL: [Self; 3] = [Self::Refuses, Self::Swallows, Self::Silent];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refuses => "refuses",
            Self::Swallows => "swallows",
            Self::Silent => "keeps silent",
        }
    }
}

/// A case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Case {
    pub(crate) mode: Mode,
    pub(crate) dark: Dark,
    pub(crate) who: Who,
}

/// The outcome of a case.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) case: Case,
    pub(crate) books: Books,
}

/// Runs one case to its end.
pub(crate) async fn run(case: Case, net: Arc<Net>) -> Result<Report> {
    let mut stage = Stage::set(case, &net).await?;
    let ledger = Arc::new(Ledger::new());
    let mut caller = Caller::new(case.who, &net)?;
    let mut calls = JoinSet::new();
    let mut ticks = interval(EVERY);
    let mut acts = ACTS.into_iter().peekable();
    while ledger.now() < ENDS {
        ticks.tick().await;
        stage.count(&ledger);
        if let Some((_, act)) = acts.next_if(|(at, _)| *at <= ledger.now()) {
            match act {
                Act::Move => net.dns.set(&stage.name, says(NEW)),
                // This client is kept.
                Act::Deploy if case.who == Who::Ours => {}
                Act::Deploy => caller = Caller::new(case.who, &net)?,
                Act::MoveBack => {
                    net.dns.set(&stage.name, says(OLD));
                    stage.darken(case.dark);
                }
            }
        }
        let (caller, ledger) = (caller.clone(), Arc::clone(&ledger));
        let url = stage.url.clone();
        calls.spawn(async move {
            let begun = ledger.now();
            let called = caller.call(&url).await;
            ledger.called(begun, called);
        });
    }
    calls.join_all().await;
    stage.count(&ledger);
    stage.clear().await?;
    let books = ledger.close();
    Ok(Report { case, books })
}

/// The servers of a run.
struct Stage {
    name: String,
    url: String,
    servers: Vec<FaultServer>,
    /// The counts of each server at the last look.
    counted: Vec<usize>,
    darkness: Option<JoinHandle<io::Result<Keep>>>,
}

/// The parts that have to live for as long as the run.
type Keep = Option<Box<dyn Any + Send>>;

impl Stage {
    async fn set(case: Case, net: &Net) -> Result<Self> {
        let Case { mode, dark, who } = case;
        let name = format!("{mode:?}-{dark:?}-{who:?}.test").to_lowercase();
        let identity = net.authority.issue(&[&name])?;
        let old = server(mode, &identity, SocketAddr::new(OLD, 0)).await?;
        let port = old.addr().port();
        let new = server(mode, &identity, SocketAddr::new(NEW, port)).await?;
        net.dns.set(&name, says(OLD));
        let scheme = if mode == Mode::Http1 { "http" } else { "https" };
        Ok(Self {
            url: format!("{scheme}://{name}:{port}/v1/charges"),
            name,
            servers: vec![old, new],
            counted: vec![0, 0],
            darkness: None,
        })
    }

    /// Notes the requests that have arrived since then.
    fn count(&mut self, ledger: &Ledger) {
        for (server, counted) in self.servers.iter().zip(&mut self.counted) {
            let seen = server.requests_seen();
            ledger.arrived(server.addr().ip(), seen - *counted);
            *counted = seen;
        }
    }

    /// Lets the new server go dark. This runs in the background, so traffic does not wait for it.
    fn darken(&mut self, dark: Dark) {
        if dark == Dark::Silent {
            let new = self.servers.last();
            new.inspect(|new| new.default_reply(Reply::Silent));
            return;
        }
        let new = self.servers.pop();
        self.darkness = new.map(|new| {
            tokio::spawn(async move {
                let address = new.addr();
                new.stop().await;
                Ok(match dark {
                    Dark::Swallows => Some(Box::new(BlackHole::start_at(address).await?) as Box<_>),
                    Dark::Refuses | Dark::Silent => None,
                })
            })
        });
    }

    /// Fails if the server did not go dark.
    async fn clear(self) -> Result<()> {
        if let Some(darkness) = self.darkness {
            darkness.await??;
        }
        Ok(())
    }
}

async fn server(mode: Mode, identity: &Identity, at: SocketAddr) -> io::Result<FaultServer> {
    let server = FaultServer::builder().address(at);
    let server = match mode {
        Mode::Http1 => server,
        Mode::Http1Tls => server.tls(identity.clone()),
        Mode::Http2Tls => server.tls(identity.clone()).http2(),
    };
    server.start().await
}

fn says(address: IpAddr) -> DnsScript {
    DnsScript::addresses([address]).ttl(TTL_SECS)
}

/// The events while the traffic goes on.
#[derive(Clone, Copy)]
enum Act {
    Move,
    Deploy,
    MoveBack,
}

const ACTS: [(Duration, Act); 3] = [
    (MOVES, Act::Move),
    (DEPLOYS, Act::Deploy),
    (MOVES_BACK, Act::MoveBack),
];
pub(crate) const OLD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
pub(crate) const NEW: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const TTL_SECS: u32 = 2;
pub(crate) const TTL: Duration = Duration::from_secs(TTL_SECS as u64);
/// Twenty-five a second.
const EVERY: Duration = Duration::from_millis(40);
/// Long enough for the first DNS answer to have been refreshed.
pub(crate) const MOVES: Duration = Duration::from_secs(3);
/// TTL and refresh are over, so a client that still uses the old server will never leave it. The record moves back one
/// second later. So a DNS answer of this moment is valid for one second too long.
const DEPLOYS: Duration = Duration::from_secs(8);
pub(crate) const MOVES_BACK: Duration = Duration::from_secs(9);
/// Longer than a call may take, so that calls that begin at the worst moment end while there is traffic.
pub(crate) const ENDS: Duration = Duration::from_secs(15);
