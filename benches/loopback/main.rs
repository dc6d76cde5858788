//! Measures whole calls over loopback, beside other clients.
//!
//! ```text
//! cargo bench --bench loopback                     # instructions of one call, then the load
//! cargo bench --bench loopback -- instructions     # instructions alone (needs valgrind)
//! cargo bench --bench loopback -- load 64 512      # throughput alone, with so many tasks
//! ```
//!
//! The server runs in its own process. Instructions are counted by valgrind, in a process with one thread that makes
//! N calls, and again with 2 N. The difference is the cost of the calls. In the load test the clients take turns, and
//! each figure is the median of nine rounds.

mod clients;
mod server;

use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use crate::clients::{Kind, Work};

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
        ["server"] => server::serve(),
        ["calls", address, client, work, calls] => {
            make_calls(
                address,
                client,
                work,
                calls.parse().expect("CALLS is a number"),
            );
        }
        ["load-of", address, client, work, tasks] => {
            let tasks = tasks.parse().expect("TASKS is a number");
            print_load(address, client, work, tasks);
        }
        ["instructions", works @ ..] => instructions(works),
        ["load", tasks @ ..] => load(tasks),
        [] => {
            instructions(&[]);
            load(&[]);
        }
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// The server's process. It is killed at the end.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .arg("server")
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdout = child.stdout.take().expect("its output");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("its address");
        let address = line.trim().parse().expect("an address");
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_calls(address: &str, client: &str, work: &str, calls: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let work = Work::named(work, address);
        let client = Kind::named(client).client(&work);
        for _ in 0..calls {
            client.call(&work).await;
        }
    });
}

fn print_load(address: &str, client: &str, work: &str, tasks: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let (done, took) = runtime.expect("a runtime").block_on(async {
        let work = Work::named(work, address);
        let client = Kind::named(client).client(&work);
        for _ in 0..WARM {
            client.call(&work).await;
        }
        let until = Instant::now() + ROUND;
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let (client, work) = (client.clone(), work.clone());
                tokio::spawn(async move {
                    let mut done = 0_u64;
                    while Instant::now() < until {
                        client.call(&work).await;
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let began = Instant::now();
        let mut done = 0;
        for task in tasks {
            done += task.await.expect("a task");
        }
        (done, began.elapsed())
    });
    println!("{}", (done as f64 / took.as_secs_f64()) as u64);
}

/// Prints the instructions of one call, and the ratio to bare reqwest.
fn instructions(works: &[&str]) {
    let server = Server::start();
    let address = server.address.to_string();
    let works: &[&str] = if works.is_empty() {
        &Work::NAMES
    } else {
        works
    };
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

/// Prints requests a second, and the ratio to bare reqwest.
fn load(tasks: &[&str]) {
    let server = Server::start();
    let address = server.address.to_string();
    let tasks: &[&str] = if tasks.is_empty() {
        &["1", "64", "512"]
    } else {
        tasks
    };
    println!(
        "{:<12}{:<8}{:<36}{:>14}{:>10}",
        "call", "tasks", "client", "calls/s", "ratio"
    );
    for work in ["get-h1", "get-h2"] {
        for tasks in tasks {
            let mut rounds = vec![Vec::new(); Kind::ALL.len()];
            for _ in 0..ROUNDS {
                for (kind, rates) in Kind::ALL.into_iter().zip(&mut rounds) {
                    rates.extend(rate(&address, kind, work, tasks));
                }
            }
            let base = median(&mut rounds[0]);
            for (kind, rates) in Kind::ALL.into_iter().zip(&mut rounds) {
                let rate = median(rates);
                let ratio = rate as f64 / base as f64;
                println!(
                    "{work:<12}{tasks:<8}{:<36}{rate:>14}{ratio:>10.2}",
                    kind.name()
                );
            }
        }
    }
}

fn rate(address: &str, kind: Kind, work: &str, tasks: &str) -> Option<u64> {
    let ended = Command::new(env::current_exe().ok()?)
        .args(["load-of", address, kind.name(), work, tasks])
        .output()
        .ok()?;
    String::from_utf8_lossy(&ended.stdout).trim().parse().ok()
}

fn median(rates: &mut [u64]) -> u64 {
    rates.sort_unstable();
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

const WARM: usize = 20;
const ROUND: Duration = Duration::from_millis(700);
const ROUNDS: usize = 9;
const MANY: u64 = 300;
const FEW: u64 = 20;
