//! The policies in front of a real server: `nginx`, started on loopback ports with a configuration of its own. If it is
//! not installed, the tests print that and are skipped.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Method;
use sevenhops::testing::DnsScript;
use sevenhops::{Client, Effect, Error, Policy, ThrottleConfig};
use tokio::time::{Instant, sleep_until};

use crate::net::Net;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test]
async fn restart_under_load_fails_no_unsent_call() {
    let Some(mut nginx) = Nginx::start(OK) else {
        return;
    };
    let client = Net::new().await.client();
    let url = format!("http://{}/", nginx.addr);
    let restarting = async {
        // As many successes as a client has seen that has been up for a while.
        tokio::time::sleep(MS(2_000)).await;
        nginx.stop();
        tokio::time::sleep(MS(300)).await;
        nginx.run();
    };
    let methods = [Method::GET, Method::POST];
    let calls = paced(300, MS(10), |number| {
        let method = methods[number % 2].clone();
        let call = client.request(method, &url).body("10").send();
        async move { call.await.map(drop) }
    });
    let (ended, ()) = tokio::join!(calls, restarting);
    for (number, (_, ended)) in ended.into_iter().enumerate() {
        if let Err(error) = ended {
            let is_get = number % 2 == 0;
            assert!(!is_get && error.effect() != Effect::None, "{error}");
        }
    }
}

#[tokio::test]
async fn throttling_destination_sends_no_fewer_responses_than_to_a_plain_client() {
    let Some(nginx) = Nginx::start(THROTTLING) else {
        return;
    };
    let url = format!("http://{}/charge", nginx.addr);
    // Three times the rate, for a second.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plain = reqwest::Client::new();
    let plain = paced(90, MS(11), |_| {
        let sending = plain.get(&url).send();
        async move {
            sending
                .await
                .is_ok_and(|response| response.status().is_success())
        }
    });
    let plain = plain.await.into_iter().filter(|(_, is_ok)| *is_ok).count();
    assert!((20..70).contains(&plain), "of 90, {plain} were let through");
    let net = Net::new().await;
    let throttled = net
        .builder()
        .config(|config| config.throttle(ThrottleConfig::new()));
    for client in [net.client(), throttled.build().unwrap()] {
        let ours = paced(90, MS(11), |_| client.get(&url).fetch_bytes());
        let mut answered = 0;
        for (_, ended) in ours.await {
            match ended {
                Ok(_) => answered += 1,
                Err(error) => assert_ne!(error.rejected_by(), Some(Policy::Breaker), "{error}"),
            }
        }
        assert!(
            answered >= plain,
            "{answered} of 90, the plain client {plain}"
        );
    }
}

#[tokio::test]
async fn no_call_is_rejected_after_a_server_that_hangs_was_replaced() {
    let http2 = Site {
        listen: "http2",
        ..OK
    };
    let Some(old) = Nginx::start(http2) else {
        return;
    };
    let port = old.addr.port();
    let new = Nginx::start_at(http2, (host(2), port).into());
    let _new = new.expect("the port is free at another address, too");
    let net = Net::new().await;
    let lead_to = |address: IpAddr| {
        let script = DnsScript::addresses([address]).ttl(2);
        net.dns.set("pay.test", script);
    };
    lead_to(host(1));
    let client =
        Client::builder(MS(5_000)).transport(|transport| transport.resolver(net.dns.resolver()));
    let client = client.transport(|transport| transport.http2_prior_knowledge(true));
    let client = client.build().unwrap();
    let url = format!("http://pay.test:{port}/");
    let begun = Instant::now();
    let moving = async {
        sleep_until(begun + MS(2_000)).await;
        old.signal("STOP");
        sleep_until(begun + MS(3_500)).await;
        lead_to(host(2));
        Instant::now()
    };
    let calls = paced(140, MS(50), |_| {
        let call = client.get(&url).send();
        async move { call.await.map(drop) }
    });
    let (ended, moved) = tokio::join!(calls, moving);
    for (at, ended) in ended {
        let after = at.saturating_duration_since(moved);
        if let Err(error) = ended {
            let is_rejected = is_rejected(&error);
            assert!(!is_rejected || after.is_zero(), "{after:?} after: {error}");
            assert!(after < MS(2_000), "{after:?} after: {error}");
        }
    }
}

fn is_rejected(error: &Error) -> bool {
    error.rejected_by() == Some(Policy::Breaker)
}

/// Begins this number of calls, one each `pause`. Returns when each began, and its result.
async fn paced<T, F>(calls: usize, pause: Duration, call: impl Fn(usize) -> F) -> Vec<(Instant, T)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let begun = Instant::now();
    let mut all = Vec::new();
    for number in 0..calls {
        sleep_until(begun + pause * u32::try_from(number).unwrap()).await;
        all.push((Instant::now(), tokio::spawn(call(number))));
    }
    let mut ended = Vec::new();
    for (at, call) in all {
        ended.push((at, call.await.unwrap()));
    }
    ended
}

/// The configuration of an nginx.
#[derive(Clone, Copy)]
struct Site {
    /// The parameters of its socket.
    listen: &'static str,
    /// Its directives for every request.
    location: &'static str,
}

/// An nginx. It is stopped and its files are removed when this is dropped.
struct Nginx {
    addr: SocketAddr,
    child: Child,
    directory: PathBuf,
}

impl Nginx {
    /// Starts one on a free port. Returns `None` if it is not installed.
    fn start(site: Site) -> Option<Self> {
        if !fs::exists(PROGRAM).unwrap_or(false) {
            let line = "SKIPPED: policies in front of a real server: nginx is not installed\n";
            let _ = io::stderr().write_all(line.as_bytes());
            return None;
        }
        // Another process may take a free port before nginx does.
        let started = (0..MOST_STARTS).find_map(|_| {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let addr = free.local_addr().unwrap();
            drop(free);
            Self::start_at(site, addr)
        });
        Some(started.expect("nginx starts"))
    }

    /// Starts one there. Returns `None` if the port is taken.
    fn start_at(site: Site, addr: SocketAddr) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sevenhops-nginx-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("charge"), "charged\n").unwrap();
        let config = settings(&directory, addr, site);
        fs::write(directory.join("nginx.conf"), config).unwrap();
        let child = command(&directory).spawn().unwrap();
        let mut nginx = Self {
            addr,
            child,
            directory,
        };
        nginx.is_ready().then_some(nginx)
    }

    /// Waits until it accepts. Returns false if it ends.
    fn is_ready(&mut self) -> bool {
        while TcpStream::connect(self.addr).is_err() {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    /// Lets it finish its requests, and end.
    fn stop(&mut self) {
        self.signal("QUIT");
        self.child.wait().unwrap();
    }

    /// Starts it again.
    fn run(&mut self) {
        self.child = command(&self.directory).spawn().unwrap();
        assert!(self.is_ready());
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    let config = directory.join("nginx.conf");
    command.arg("-p").arg(directory).arg("-c").arg(config);
    command.arg("-e").arg(directory.join("errors"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn settings(directory: &Path, addr: SocketAddr, Site { listen, location }: Site) -> String {
    let directory = directory.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("{kind}_temp_path {directory}/{kind};\n"));
    format!(
        "daemon off;\n\
         master_process off;\n\
         pid {directory}/pid;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n\
         access_log off;\n\
         limit_req_zone $server_port zone=thirty:1m rate=30r/s;\n\
         {}\
         server {{\n\
         listen {addr} {listen};\n\
         root {directory};\n\
         location / {{ {location} }}\n\
         }}\n\
         }}\n",
        temporary.concat(),
    )
}

const fn host(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

const OK: Site = Site {
    listen: "",
    location: "return 200;",
};
/// It responds 503 above its rate.
const THROTTLING: Site = Site {
    listen: "",
    location: "limit_req zone=thirty;",
};
const PROGRAM: &str = "/usr/sbin/nginx";
const MOST_STARTS: u32 = 20;
