//! Tests a real caching resolver between this crate's resolver and the scripted authority: `unbound`, started on a
//! loopback port with its own configuration. If it is not installed, the tests print that and are skipped.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use sevenhops::dns::{Answer, DnsError, Resolve, Resolver};
use sevenhops::testing::{DnsScript, ScriptedDns};

#[tokio::test]
async fn server_that_does_not_resolve_hides_no_name_of_unbound() {
    let (lame, authority) = (start().await, start().await);
    let Some(unbound) = Unbound::before(&authority) else {
        return;
    };
    for name in ["a.test", "b.test", "c.test"] {
        lame.set(name, DnsScript::Referral);
        authority.set(
            name,
            DnsScript::addresses([ip(1), "fd00::1".parse().unwrap()]),
        );
        let answer = ask(&resolver([lame.addr(), unbound.addr]), name).await;
        assert_eq!(answer.unwrap().addresses().len(), 2);
    }
}

#[tokio::test]
async fn briefly_deleted_record_fails_no_lookup_while_unbound_caches_the_denial() {
    let authority = start().await;
    let Some(unbound) = Unbound::before(&authority) else {
        return;
    };
    let resolver = resolver([unbound.addr]);
    authority.set("bank.test", DnsScript::addresses([ip(1)]).ttl(1).soa(1, 1));
    ask(&resolver, "bank.test").await.unwrap();

    authority.set("bank.test", DnsScript::NxDomain.soa(3, 3));
    let mut stale = 0;
    // 30 s at most, at 50 lookups a second.
    for lookup in 0..1_500 {
        let answer = ask(&resolver, "bank.test").await;
        let answer = answer.unwrap_or_else(|error| panic!("lookup {lookup}: {error:?}"));
        if answer.is_stale() {
            // The denial came. The record exists again, but unbound does not ask for 3 s.
            authority.set("bank.test", DnsScript::addresses([ip(2)]));
            stale += 1;
        }
        if answer.addresses() == [ip(2)] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        ask(&resolver, "bank.test").await.unwrap().addresses(),
        [ip(2)]
    );
    assert!(stale > 10, "unbound did not remember the denial: {stale}");
}

#[tokio::test]
async fn name_in_use_survives_4200_others_and_a_failing_authority() {
    let authority = start().await;
    let Some(unbound) = Unbound::before(&authority) else {
        return;
    };
    let resolver = resolver([unbound.addr]);
    authority.set("bank.test", DnsScript::addresses([ip(1)]).ttl(1).soa(1, 1));
    for _ in 0..2 {
        ask(&resolver, "bank.test").await.unwrap();
    }
    authority.set("bank.test", DnsScript::ServFail);
    let names: Vec<_> = (0..4_200).map(|n| format!("{n}.other.test")).collect();
    for some in names.chunks(50) {
        for name in some {
            authority.set(
                name,
                DnsScript::addresses([ip(2)]).ttl(3_600).soa(3_600, 3_600),
            );
        }
        let asking: Vec<_> = some.iter().map(|name| resolver.resolve(name)).collect();
        for asked in asking {
            asked.answer().await.unwrap();
        }
    }
    // The TTL of one second has also expired in unbound.
    let unbound_fails = async {
        while !ask(&resolver, "bank.test").await.unwrap().is_stale() {
            tokio::task::yield_now().await;
        }
    };
    let failed = tokio::time::timeout(Duration::from_secs(20), unbound_fails);
    failed.await.expect("the authority fails");
    assert_eq!(
        ask(&resolver, "bank.test").await.unwrap().addresses(),
        [ip(1)]
    );
}

/// A running unbound. It stops, and its files are removed, when this is dropped.
struct Unbound {
    addr: SocketAddr,
    child: Child,
    directory: PathBuf,
}

impl Unbound {
    /// Starts one that asks `authority` for all names below `test`. Returns `None` if it is not installed.
    fn before(authority: &ScriptedDns) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let program = ["/usr/sbin/unbound", "/usr/local/sbin/unbound"];
        let Some(program) = program
            .iter()
            .find(|path| fs::exists(path).unwrap_or(false))
        else {
            let line = "SKIPPED: dns through a real resolver: unbound is not installed\n";
            let _ = io::stderr().write_all(line.as_bytes());
            return None;
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sevenhops-unbound-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        // Another process may take a free port before unbound does.
        for _ in 0..MOST_STARTS {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let addr = socket.local_addr().unwrap();
            drop(socket);
            let config = directory.join("unbound.conf");
            fs::write(&config, settings(addr.port(), authority.addr().port())).unwrap();
            let mut command = Command::new(program);
            command
                .current_dir(&directory)
                .arg("-d")
                .arg("-c")
                .arg(&config);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            if is_ready(&mut child) {
                return Some(Self {
                    addr,
                    child,
                    directory,
                });
            }
            let _ = child.wait();
        }
        panic!("unbound does not start");
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn settings(port: u16, authority: u16) -> String {
    format!(
        "server:\n\
         interface: 127.0.0.1\n\
         port: {port}\n\
         do-ip6: no\n\
         do-daemonize: no\n\
         use-syslog: no\n\
         verbosity: 1\n\
         chroot: \"\"\n\
         username: \"\"\n\
         pidfile: \"\"\n\
         module-config: iterator\n\
         do-not-query-localhost: no\n\
         local-zone: test. nodefault\n\
         num-queries-per-thread: 1024\n\
         forward-zone:\n\
         name: test.\n\
         forward-addr: 127.0.0.1@{authority}\n\
         remote-control:\n\
         control-enable: no\n"
    )
}

/// Waits for the line that reports readiness. Returns false if the process ends without it.
fn is_ready(child: &mut Child) -> bool {
    let errors = child.stderr.take().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    // Reads to the end, so that the process never blocks on a full pipe.
    thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(io::Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
        .into_iter()
        .any(|line| line.contains("start of service"))
}

async fn start() -> ScriptedDns {
    let dns = ScriptedDns::start().await;
    dns.expect("a port of 127.0.0.1 is free")
}

fn resolver(servers: impl IntoIterator<Item = SocketAddr>) -> Resolver {
    let builder = Resolver::builder().hosts_file(false).name_servers(servers);
    let builder = builder.timeout(Duration::from_secs(20));
    builder.build().expect("the settings do not contradict")
}

async fn ask(resolver: &Resolver, host: &str) -> Result<Answer, DnsError> {
    resolver.resolve(host).answer().await
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

const MOST_STARTS: u32 = 20;
