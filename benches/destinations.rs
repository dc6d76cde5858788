//! Measures many destinations: the memory of an idle one, and the cost of a call among them.
//!
//! ```text
//! cargo bench -p sevenhops-benches --bench destinations                  # 1,000, 10,000 and 100,000 destinations
//! cargo bench -p sevenhops-benches --bench destinations -- 1000 50000
//! cargo bench -p sevenhops-benches --bench destinations -- instructions 1000 100000
//! ```
//!
//! The destinations are addresses of 127.0.0.0/8, so none of them is looked up. Each is called once, then once again.
//! In memory, the layers are over a service that responds at once. Over loopback, a `Client` calls one server that
//! listens on all addresses. Each line has a process of its own.
//!
//! "heap" is what the calls have allocated and not freed, "resident" is the growth of the process. "idle" is the heap
//! after all connections were closed, because nothing used them for [`IDLE`]. "first" and "again" are processor time of
//! this process for a call, as Linux counts it. On a busy machine, a call also waits for the other process.
//!
//! `instructions` counts with valgrind, which must be installed. It compares processes that call each destination never,
//! once and twice.
//!
//! How people get it wrong: they compare the lines over loopback with each other's memory per destination. A thousand
//! destinations have a connection each; of more than that, the bound on connections closes the idlest. Their second
//! call opens a connection again, as the first one did.

#[path = "loopback/server.rs"]
mod server;

use std::convert::Infallible;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use sevenhops::{CircuitBreakerLayer, Client, RetryConfig, RetryLayer, StandardLayer, Timeouts};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, ServiceExt, service_fn};

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
        ["line", case, port, number, passes] => {
            let number = number.parse().expect("a number");
            run(case, port, number, passes.parse().ok());
        }
        ["instructions", numbers @ ..] => return instructions(or_usual(numbers)),
        numbers => return each(or_usual(numbers)),
    }
    ExitCode::SUCCESS
}

fn or_usual<'a>(numbers: &'a [&'a str]) -> &'a [&'a str] {
    match numbers {
        [] => &["1000", "10000", "100000"],
        numbers => numbers,
    }
}

/// Runs each line in a process of its own.
fn each(numbers: &[&str]) -> ExitCode {
    println!(
        "{:<18}{:>13}{:>10}{:>12}{:>10}{:>14}{:>10}{:>10}",
        "",
        "destinations",
        "heap MiB",
        "bytes each",
        "idle MiB",
        "resident MiB",
        "first µs",
        "again µs"
    );
    let server = Server::start();
    let port = server.address.port().to_string();
    for number in numbers {
        for case in CASES {
            let program = env::current_exe().expect("this program");
            let args = ["line", case, &port, number, "measure"];
            let ended = Command::new(program).args(args).status();
            if !ended.is_ok_and(|status| status.success()) {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Counts the instructions of a first and of a second call.
fn instructions(numbers: &[&str]) -> ExitCode {
    println!(
        "{:<18}{:>13}{:>10}{:>10}",
        "", "destinations", "first", "again"
    );
    let server = Server::start();
    let port = server.address.port().to_string();
    for number in numbers {
        for case in CASES {
            let counts =
                ["0", "1", "2"].map(|passes| count(&["line", case, &port, number, passes]));
            let [Some(none), Some(once), Some(twice)] = counts else {
                return ExitCode::FAILURE;
            };
            let calls: f64 = number.parse().expect("a number");
            let (first, again) = ((once - none) / calls, (twice - once) / calls);
            println!("{case:<18}{number:>13}{first:>10.0}{again:>10.0}");
        }
    }
    ExitCode::SUCCESS
}

/// Counts the instructions of this program with these arguments.
fn count(args: &[&str]) -> Option<f64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let output = valgrind.arg(env::current_exe().ok()?).args(args).output();
    let report = String::from_utf8(output.ok()?.stderr).ok()?;
    // ==4711== Collected : 12345678
    let (_, collected) = report.split_once("Collected :")?;
    collected.split_whitespace().next()?.parse().ok()
}

/// Calls the destinations this many times, or measures that.
fn run(case: &str, port: &str, number: u32, passes: Option<u32>) {
    let runtime = runtime();
    let leaf = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok")))
    });
    let timeouts = Timeouts::new(DEADLINE).expect("ten seconds are a deadline");
    let standard = StandardLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let line = Line {
        case,
        number,
        passes,
        runtime: &runtime,
    };
    match case {
        "circuits" => line.report(in_memory(CircuitBreakerLayer::new(timeouts).layer(leaf))),
        "budgets" => {
            let retry = RetryLayer::new(RetryConfig::new()).expect("defaults are valid");
            line.report(in_memory(retry.layer(leaf)));
        }
        "StandardLayer" => line.report(in_memory(standard.over(leaf))),
        _ => {
            // Valgrind is slow: there the connections would be closed before the second call.
            let idle = if passes.is_some() {
                DEADLINE * 1_000
            } else {
                IDLE
            };
            let client =
                Client::builder(DEADLINE).transport(|transport| transport.idle_timeout(idle));
            let client = client.build().expect("a client");
            line.report(|nth| {
                let fetched = client.get(url(nth, port)).fetch_bytes();
                async { drop(fetched.await.expect("a response")) }
            });
        }
    }
    if passes.is_some() {
        // The end of the connections is not counted.
        std::mem::forget(runtime);
    }
}

/// Returns the function that calls a destination.
fn in_memory<S, R>(service: S) -> impl FnMut(u32) -> std::pin::Pin<Box<dyn Future<Output = ()>>>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: std::fmt::Debug>,
    S: Clone + 'static,
    R: http_body::Body<Error: std::fmt::Debug> + 'static,
{
    move |nth| {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = url(nth, "80").parse().expect("the URL is valid");
        let calling = service.clone().oneshot(request);
        Box::pin(async {
            let response = calling.await.expect("a response");
            let body = std::pin::pin!(response.into_body());
            body.collect().await.expect("a body");
        })
    }
}

struct Line<'a> {
    case: &'a str,
    number: u32,
    /// How often each destination is called. `None` to measure.
    passes: Option<u32>,
    runtime: &'a Runtime,
}

impl Line<'_> {
    fn report<F: Future<Output = ()>>(&self, mut call: impl FnMut(u32) -> F) {
        // A call first, so that the parts which all calls share are there.
        self.runtime.block_on(call(self.number));
        match self.passes {
            Some(passes) => {
                for _ in 0..passes {
                    self.pass(&mut call);
                }
            }
            None => self.measure(&mut call),
        }
    }

    /// Calls each destination twice, and prints a line.
    fn measure<F: Future<Output = ()>>(&self, call: &mut impl FnMut(u32) -> F) {
        let before = resident();
        let (mut first, mut again, mut held) = (0.0, 0.0, 0);
        let heap = allocation_counter::measure(|| first = self.pass(call));
        held += resident().saturating_sub(before);
        let more = allocation_counter::measure(|| again = self.pass(call));
        let closed = allocation_counter::measure(|| {
            if self.case == CLIENT {
                let closing = async { tokio::time::sleep(IDLE * 2).await };
                self.runtime.block_on(closing);
            }
        });
        let idle = heap.bytes_current + more.bytes_current + closed.bytes_current;
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        println!(
            "{:<18}{:>13}{:>10.1}{:>12}{:>10.1}{:>14.1}{first:>10.1}{again:>10.1}",
            self.case,
            self.number,
            mib(heap.bytes_current as f64),
            heap.bytes_current / i64::from(self.number),
            mib(idle as f64),
            mib(held as f64),
        );
    }

    /// Calls each destination once. Returns the processor time of a call in microseconds.
    fn pass<F: Future<Output = ()>>(&self, call: &mut impl FnMut(u32) -> F) -> f64 {
        self.runtime.block_on(async {
            let start = processor_nanos();
            for nth in 0..self.number {
                call(nth).await;
            }
            (processor_nanos() - start) / 1e3 / f64::from(self.number)
        })
    }
}

/// Returns the resident memory of this process in bytes, as Linux tells it in pages of 4 KiB.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split_whitespace().nth(1).map(str::parse::<u64>);
    pages.and_then(Result::ok).unwrap_or_default() << 12
}

/// Returns the processor time of this thread, on which everything runs.
fn processor_nanos() -> f64 {
    let times = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let running = times.split_whitespace().next().map(str::parse::<f64>);
    running.and_then(Result::ok).unwrap_or_default()
}

fn url(nth: u32, port: &str) -> String {
    let (net, host) = (nth / 200, nth % 200 + 1);
    format!("http://127.{}.{}.{host}:{port}/", net / 250, net % 250)
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// The layers, and at last the client over loopback.
const CASES: [&str; 4] = ["circuits", "budgets", "StandardLayer", CLIENT];
const CLIENT: &str = "Client";
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(5);
