//! Measures many destinations: the memory of an idle one, and the cost of a call among them.
//!
//! ```text
//! cargo bench -p sevenhops-benches --bench destinations                  # 1,000, 10,000 and 100,000 destinations
//! cargo bench -p sevenhops-benches --bench destinations -- 1000 50000
//! ```
//!
//! The destinations are addresses of 127.0.0.0/8, so none of them is looked up. Each is called once, then once again.
//! In memory, `StandardLayer` is over a service that responds at once. Over loopback, a `Client` calls one server that
//! listens on all addresses. Each line has a process of its own.
//!
//! How people get it wrong: they compare the lines over loopback with each other's memory per destination. A thousand
//! destinations have a connection each; of more than that, the bound on connections closes the idlest.

#[path = "loopback/server.rs"]
mod server;

use std::convert::Infallible;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use sevenhops::{Client, StandardLayer};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tower::{ServiceExt, service_fn};

use crate::server::Server;

fn main() -> ExitCode {
    // Cargo adds the argument `--bench`.
    let words: Vec<_> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match &words[..] {
        ["server"] => server::serve("0.0.0.0:0"),
        ["memory", number] => in_memory(number.parse().expect("a number")),
        ["loopback", port, number] => over_loopback(port, number.parse().expect("a number")),
        [] => return each(&["1000", "10000", "100000"]),
        numbers => return each(numbers),
    }
    ExitCode::SUCCESS
}

/// Runs each line in a process of its own.
fn each(numbers: &[&str]) -> ExitCode {
    println!(
        "{:<12}{:>13}{:>14}{:>14}{:>12}{:>12}",
        "", "destinations", "MiB", "bytes each", "first µs", "again µs"
    );
    let server = Server::start();
    let port = server.address.port().to_string();
    for number in numbers {
        for args in [&["memory", number][..], &["loopback", &port, number]] {
            let program = env::current_exe().expect("this program");
            let ended = Command::new(program).args(args).status();
            if !ended.is_ok_and(|status| status.success()) {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn in_memory(number: u32) {
    let stack = StandardLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let stack = stack.over(service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok")))
    }));
    let call = async |uri: String| {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = uri.parse().expect("the URL is valid");
        let response = stack.clone().oneshot(request).await.expect("a response");
        response.into_body().collect().await.expect("a body");
    };
    report("memory", number, &runtime(), |nth| call(url(nth, "80")));
}

fn over_loopback(port: &str, number: u32) {
    let client = Client::builder(DEADLINE).build().expect("a client");
    let call = async |uri: String| {
        let response = client.get(uri).fetch_bytes().await;
        response.expect("a response");
    };
    report("loopback", number, &runtime(), |nth| call(url(nth, port)));
}

/// Calls each destination twice, and prints a line.
fn report<F: Future<Output = ()>>(
    name: &str,
    number: u32,
    runtime: &Runtime,
    mut call: impl FnMut(u32) -> F,
) {
    let pass = |call: &mut dyn FnMut(u32) -> F| {
        runtime.block_on(async {
            let start = Instant::now();
            for nth in 0..number {
                call(nth).await;
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(number)
        })
    };
    // A call first, so that the parts which all calls share are there.
    runtime.block_on(call(number));
    let before = resident();
    let first = pass(&mut call);
    let held = resident().saturating_sub(before);
    let again = pass(&mut call);
    println!(
        "{name:<12}{number:>13}{:>14.1}{:>14}{first:>12.1}{again:>12.1}",
        held as f64 / f64::from(1 << 20),
        held / u64::from(number),
    );
}

/// Returns the resident memory of this process in bytes, as Linux tells it in pages of 4 KiB.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split_whitespace().nth(1).map(str::parse::<u64>);
    pages.and_then(Result::ok).unwrap_or_default() << 12
}

fn url(nth: u32, port: &str) -> String {
    let (net, host) = (nth / 200, nth % 200 + 1);
    format!("http://127.{}.{}.{host}:{port}/", net / 250, net % 250)
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

const DEADLINE: Duration = Duration::from_secs(10);
