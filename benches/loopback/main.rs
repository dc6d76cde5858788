//! Measures whole calls over loopback, beside other clients.
//!
//! ```text
//! cargo bench -p sevenhops-benches --bench loopback                     # instructions of one call, then the load
//! cargo bench -p sevenhops-benches --bench loopback -- instructions     # instructions alone (needs valgrind)
//! cargo bench -p sevenhops-benches --bench loopback -- load 64 512      # throughput alone, with so many tasks
//! ```
//!
//! The server runs in its own process. Instructions are counted by valgrind, in a process with one thread that makes
//! N calls, and again with 2 N. The difference is the cost of the calls. In the load test the clients take turns, and
//! each figure is the median of nine rounds. The destinations are addresses of 127.0.0.0/8.

mod clients;
mod load;
mod server;

use std::env;
use std::process::{Command, ExitCode};

use crate::clients::{Kind, Work};
use crate::server::Server;

fn main() -> ExitCode {
    // Cargo adds the argument `--bench`.
    let words: Vec<_> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    // In this workspace reqwest is built without a crypto provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match &words[..] {
        // On all addresses: the load goes to several of 127.0.0.0/8.
        ["server"] => server::serve("0.0.0.0:0"),
        ["calls", address, client, work, calls] => {
            let calls = calls.parse().expect("CALLS is a number");
            clients::make_calls(address, client, work, calls);
        }
        ["load-of", address, client, work, tasks, destinations] => {
            let number = |word: &str| word.parse().expect("a number");
            let (tasks, destinations) = (number(tasks), number(destinations));
            // The address of the destination with this number.
            let work = |nth| {
                Work::named(
                    work,
                    &address.replace("127.0.0.1:", &format!("127.0.0.{nth}:")),
                )
            };
            let works: Vec<_> = (1..=destinations).map(work).collect();
            load::print_round(Kind::named(client), &works, tasks);
        }
        ["instructions", works @ ..] => instructions(works),
        ["load", tasks @ ..] => load::print(tasks),
        [] => {
            instructions(&[]);
            load::print(&[]);
        }
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// Prints the instructions of one call, and the ratio to bare reqwest.
fn instructions(works: &[&str]) {
    let server = Server::start();
    let address = format!("127.0.0.1:{}", server.address.port());
    let works: &[&str] = if works.is_empty() { &WORKS } else { works };
    println!(
        "{:<12}{:<36}{:>14}{:>10}",
        "call", "client", "instructions", "ratio"
    );
    for work in works {
        let mut base = None;
        for kind in Kind::ALL {
            let calls = if work.contains("MiB") { FEW } else { MANY };
            let counted = (
                count(&address, kind, work, calls),
                count(&address, kind, work, 2 * calls),
            );
            let (Some(once), Some(twice)) = counted else {
                println!("{work}: valgrind is not installed, or cannot run this program");
                return;
            };
            let each = twice.saturating_sub(once) / calls;
            let base = *base.get_or_insert(each);
            let ratio = each as f64 / base as f64;
            println!("{work:<12}{:<36}{each:>14}{ratio:>10.2}", kind.name());
        }
    }
}

fn count(address: &str, kind: Kind, work: &str, calls: u64) -> Option<u64> {
    let valgrind = [
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
    ];
    let ended = Command::new("valgrind")
        .args(valgrind)
        .arg(env::current_exe().ok()?)
        .args(["calls", address, kind.name(), work, &calls.to_string()])
        .output()
        .ok()?;
    // ==4711== I   refs:      12,345,678
    let told = String::from_utf8_lossy(&ended.stderr);
    let refs = told.lines().find(|line| line.contains("refs:"))?;
    refs.rsplit(' ').next()?.replace(',', "").parse().ok()
}

const WORKS: [&str; 8] = [
    "get-h1",
    "post-h1",
    "1MiB-down-h1",
    "1MiB-up-h1",
    "get-h2",
    "post-h2",
    "1MiB-down-h2",
    "1MiB-up-h2",
];
const MANY: u64 = 300;
const FEW: u64 = 20;
