//! The second process: three servers, and a name server whose names move.

mod answer;
mod body;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use sevenhops::testing::{DnsScript, ScriptedDns, TestCa};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use self::answer::Desk;
use crate::Result;

/// The second process, as the first one sees it. It ends when this is dropped.
pub(crate) struct Servers {
    pub(crate) dns: SocketAddr,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    root: CertificateDer<'static>,
    _process: Child,
}

impl Servers {
    pub(crate) async fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let [dns, port, tls_port, root] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("the servers said: {line}").into());
        };
        Ok(Self {
            dns: dns.parse()?,
            port: port.parse()?,
            tls_port: tls_port.parse()?,
            root: from_hex(root)?.into(),
            _process: process,
        })
    }

    /// Returns a TLS config that trusts these servers alone.
    pub(crate) fn client_config(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone())?;
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions()?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }

    /// Returns the origins: each name over HTTP/1, and over HTTP/2 in TLS.
    pub(crate) fn origins(&self) -> Vec<String> {
        let origins = NAMES.iter().flat_map(|name| {
            [
                format!("http://{name}:{}", self.port),
                format!("https://{name}:{}", self.tls_port),
            ]
        });
        origins.collect()
    }
}

/// Serves until the first process is gone.
pub(crate) async fn serve() -> Result<ExitCode> {
    let dns = ScriptedDns::start().await?;
    let authority = TestCa::new()?;
    let tls = TlsAcceptor::from(
        authority
            .issue(&NAMES)?
            .server_config(&[b"h2", b"http/1.1"]),
    );
    let desk = Arc::new(Desk::default());
    let port = listen(&desk, None).await?;
    let tls_port = listen(&desk, Some(&tls)).await?;
    for name in NAMES {
        dns.set(name, DnsScript::addresses([ADDRESSES[0]]).ttl(60));
    }
    let root = to_hex(&authority.root());
    println!("{} {port} {tls_port} {root}", dns.addr());
    std::io::stdout().flush()?;
    tokio::spawn(move_about(dns));
    // The first process writes nothing. Its end of the pipe is closed when it ends.
    let _ = tokio::io::stdin().read(&mut [0]).await;
    Ok(ExitCode::SUCCESS)
}

/// Moves `moving.test` every few seconds. Before every fifth move its lookup fails.
async fn move_about(dns: ScriptedDns) {
    for (turn, address) in ADDRESSES.into_iter().cycle().enumerate() {
        if turn % 5 == 4 {
            let fails = if turn % 10 == 4 {
                DnsScript::ServFail
            } else {
                DnsScript::Silent
            };
            dns.set(MOVING, fails);
            sleep(MOVES_EVERY / 2).await;
        }
        dns.set(MOVING, DnsScript::addresses([address]).ttl(1));
        sleep(MOVES_EVERY).await;
    }
}

/// Listens on all addresses, on one port.
async fn listen(desk: &Arc<Desk>, tls: Option<&TlsAcceptor>) -> Result<u16> {
    let mut port = 0;
    for address in ADDRESSES {
        let listener = TcpListener::bind((address, port)).await?;
        port = listener.local_addr()?.port();
        tokio::spawn(accept(listener, Arc::clone(desk), tls.cloned()));
    }
    Ok(port)
}

async fn accept(listener: TcpListener, desk: Arc<Desk>, tls: Option<TlsAcceptor>) {
    let is_steady = listener
        .local_addr()
        .is_ok_and(|at| at.ip() == ADDRESSES[0]);
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            continue;
        };
        // One connection in twenty ends before its first byte, except for the steady name.
        if !is_steady && fastrand::u8(..20) == 0 {
            continue;
        }
        let _ = tcp.set_nodelay(true);
        let (desk, tls) = (Arc::clone(&desk), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => serve_connection(tcp, desk).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        serve_connection(stream, desk).await;
                    }
                }
            }
        });
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    desk: Arc<Desk>,
) {
    let answer = service_fn(move |request| Arc::clone(&desk).answer(request));
    let builder = Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
    bytes.collect()
}

pub(crate) const STEADY: &str = "steady.test";
pub(crate) const MOVING: &str = "moving.test";
pub(crate) const FAULTY: &str = "faulty.test";
pub(crate) const FLAPPING: &str = "flapping.test";
const NAMES: [&str; 4] = [STEADY, MOVING, FAULTY, FLAPPING];
pub(crate) const ADDRESSES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)),
];
const MOVES_EVERY: Duration = Duration::from_secs(3);
