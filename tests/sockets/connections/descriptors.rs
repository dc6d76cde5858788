//! Tests that a process with a limit of 1,024 descriptors reaches more hosts than that, one after another.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sevenhops::Client;
use sevenhops::dns::StaticResolver;
use sevenhops::testing::FaultServer;
use tokio::process::Command;

/// The environment variables of the child: the server's port, and the optional connection limit.
const PORT: &str = "SEVENHOPS_TEST_PORT";
const BOUND: &str = "SEVENHOPS_TEST_BOUND";
const THIS: &str = "connections::descriptors::\
                    many_hosts_are_reached_one_after_another_within_the_file_limit";
const LIMIT: u64 = 1_024;
const HOSTS: u32 = 1_150;

#[tokio::test]
async fn many_hosts_are_reached_one_after_another_within_the_file_limit() {
    // This part runs in a child process, because it lowers the limit of its process.
    if let Ok(port) = std::env::var(PORT) {
        return reach_all(&port).await;
    }
    let everywhere = (Ipv4Addr::UNSPECIFIED, 0).into();
    let server = FaultServer::builder().address(everywhere);
    let server = server.start().await.unwrap();
    for bound in [None, Some("64"), Some("1")] {
        let before = server.connections();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", THIS])
            .env(PORT, server.addr().port().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(bound) = bound {
            child.env(BOUND, bound);
        }
        let output = child.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{bound:?}: {said}");
        assert!(said.contains("1 passed"), "{bound:?}: {said}");
        assert_eq!(server.connections() - before, HOSTS as usize);
    }
}

/// Returns how many sockets the process has open.
fn sockets() -> usize {
    let all = fs::read_dir("/proc/self/fd").unwrap();
    let links = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}

async fn reach_all(port: &str) {
    let bound = std::env::var(BOUND).ok();
    let bound: Option<usize> = bound.map(|bound| bound.parse().unwrap());
    let before = getrlimit(Resource::Nofile);
    let lower = Rlimit {
        current: Some(LIMIT),
        ..before
    };
    setrlimit(Resource::Nofile, lower).unwrap();
    let builder = Client::builder(Duration::from_secs(10));
    let builder = builder.transport(|transport| transport.resolver(StaticResolver::new()));
    let builder = builder.transport(move |transport| match bound {
        Some(bound) => transport.max_connections(bound),
        None => transport,
    });
    let client = builder.build().unwrap();
    let others = sockets();
    let most = bound.unwrap_or(256);
    for host in 0..HOSTS {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + host);
        let get = client
            .get(format!("http://{address}:{port}/"))
            .options(|options| options.retry(false));
        get.fetch_bytes().await.unwrap();
        let open = sockets() - others;
        assert!(open <= most, "{open} connections after {host} hosts");
    }
}
