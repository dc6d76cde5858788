//! Measures the memory of calls in flight: all of them wait for their responses at the same time.
//!
//! ```text
//! cargo bench -p sevenhops-benches --bench in_flight              # 1,000 and 10,000 calls
//! cargo bench -p sevenhops-benches --bench in_flight -- 50000
//! ```
//!
//! A `Client` sends over one HTTP/2 connection to a server on loopback, which has a process of its own. The server
//! responds to no request before the last one has arrived. Each line is the peak of a process of its own. The memory of
//! the kernel's sockets does not count.
//!
//! How people get it wrong: they read a time from it. All calls begin at once, so the last one waits for the CPU.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sevenhops::Client;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

fn main() -> ExitCode {
    // Cargo adds the argument `--bench`.
    let words = env::args().skip(1).filter(|word| word != "--bench");
    let words: Vec<_> = words.collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match &words[..] {
        ["server", number] => runtime().block_on(serve(number.parse().expect("a number"))),
        ["calls", number] => calls(number.parse().expect("a number")),
        [] => return each(&["1000", "10000"]),
        numbers => return each(numbers),
    }
    ExitCode::SUCCESS
}

/// Runs each line in a process of its own.
fn each(numbers: &[&str]) -> ExitCode {
    println!("{:>10}{:>14}{:>14}", "in flight", "MiB", "bytes each");
    for number in numbers {
        let program = env::current_exe().expect("this program");
        let ended = Command::new(program).args(["calls", number]).status();
        if !ended.is_ok_and(|status| status.success()) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Makes the calls, and prints the peak of the memory.
fn calls(number: usize) {
    let (mut server, address) = start(number);
    let client = Client::builder(Duration::from_secs(120))
        .transport(|transport| transport.http2_prior_knowledge(true))
        .build()
        .expect("a client");
    let url = format!("http://{address}/");
    let before = peak();
    runtime().block_on(async {
        // One connection, whose limit of streams is known before the calls begin.
        let ready = client.get(format!("{url}ready")).fetch_bytes().await;
        ready.expect("a connection");
        let mut calls = JoinSet::new();
        for _ in 0..number {
            let call = client.get(&url).options(|options| options.retry(false));
            calls.spawn(async move { call.fetch_bytes().await.expect("a response") });
        }
        calls.join_all().await;
    });
    let held = peak().saturating_sub(before);
    println!(
        "{number:>10}{:>14.1}{:>14}",
        held as f64 / f64::from(1 << 20),
        held / number,
    );
    let _ = server.kill();
    let _ = server.wait();
}

/// Starts this program as a server that waits for this number of requests.
fn start(number: usize) -> (Child, String) {
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["server", &number.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let stdout = child.stdout.take().expect("its output");
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line);
    read.expect("its address");
    (child, line.trim().to_owned())
}

async fn serve(number: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    std::io::stdout().flush().expect("a reader");
    let all = Arc::new(Barrier::new(number));
    while let Ok((stream, _)) = listener.accept().await {
        let all = Arc::clone(&all);
        let answer = service_fn(move |request: Request<Incoming>| {
            let all = Arc::clone(&all);
            async move {
                if request.uri().path() == "/" {
                    all.wait().await;
                }
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok")))
            }
        });
        let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        server.http2().max_concurrent_streams(1 << 20);
        tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), answer).await });
    }
}

/// Returns the peak of the resident memory of this process in bytes, as Linux tells it in KiB.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<usize>().ok())
        .unwrap_or_default()
        << 10
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}
