//! Measures throughput and the 99th percentile, with many tasks that call in a loop.

use std::env;
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::clients::{Kind, Work};
use crate::server::Server;

/// Makes calls for the length of a round. Prints the calls a second, and the 99th percentile in microseconds.
pub(crate) fn print_round(kind: Kind, works: &[Work], tasks: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let (mut latencies, took) = runtime.expect("a runtime").block_on(async {
        let client = kind.client(&works[0]);
        for work in works {
            client.call(work).await;
        }
        let began = Instant::now();
        let until = began + ROUND;
        let tasks: Vec<_> = (0..tasks)
            .map(|task| {
                let (client, work) = (client.clone(), works[task % works.len()].clone());
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    let mut start = Instant::now();
                    while start < until {
                        client.call(&work).await;
                        let end = Instant::now();
                        latencies.push((end - start).as_micros());
                        start = end;
                    }
                    latencies
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.expect("a task"));
        }
        (latencies, began.elapsed())
    });
    latencies.sort_unstable();
    let rate = latencies.len() as f64 / took.as_secs_f64();
    let p99 = latencies.get(latencies.len() * 99 / 100);
    println!("{rate:.0} {}", p99.copied().unwrap_or_default());
}

/// Prints calls a second and the 99th percentile, and the ratios to reqwest with timeouts.
pub(crate) fn print(tasks: &[&str]) {
    let server = Server::start();
    let address = format!("127.0.0.1:{}", server.address.port());
    let tasks = if tasks.is_empty() { &TASKS } else { tasks };
    println!(
        "{:<8}{:>6}{:>14}  {:<34}{:>9}{:>7}{:>11}{:>7}",
        "call", "tasks", "destinations", "client", "calls/s", "ratio", "p99 µs", "ratio"
    );
    for work in ["get-h1", "get-h2"] {
        for destinations in ["1", "64"] {
            for tasks in tasks {
                let of = |kind| round(&address, kind, &[work, tasks, destinations]);
                print_rows(&[work, tasks, destinations], &rounds(&of));
            }
        }
    }
}

/// Lets the clients take turns. Returns the median rate and the median percentile of each.
fn rounds(of: &dyn Fn(Kind) -> Option<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut each = vec![(Vec::new(), Vec::new()); CLIENTS.len()];
    for _ in 0..ROUNDS {
        for (kind, (rates, latencies)) in CLIENTS.into_iter().zip(&mut each) {
            if let Some((rate, latency)) = of(kind) {
                rates.push(rate);
                latencies.push(latency);
            }
        }
    }
    let medians = each.iter_mut();
    let medians = medians.map(|(rates, latencies)| (median(rates), median(latencies)));
    medians.collect()
}

fn print_rows(case: &[&str; 3], medians: &[(u64, u64)]) {
    let [work, tasks, destinations] = case;
    let base = medians.first().copied().unwrap_or_default();
    for (kind, (rate, p99)) in CLIENTS.into_iter().zip(medians) {
        let ratio = |one: u64, base: u64| one as f64 / base as f64;
        println!(
            "{work:<8}{tasks:>6}{destinations:>14}  {:<34}{rate:>9}{:>7.2}{p99:>11}{:>7.2}",
            kind.name(),
            ratio(*rate, base.0),
            ratio(*p99, base.1),
        );
    }
}

fn round(address: &str, kind: Kind, args: &[&str]) -> Option<(u64, u64)> {
    let ended = Command::new(env::current_exe().ok()?)
        .args(["load-of", address, kind.name()])
        .args(args)
        .output()
        .ok()?;
    let line = String::from_utf8_lossy(&ended.stdout);
    let (rate, p99) = line.trim().split_once(' ')?;
    Some((rate.parse().ok()?, p99.parse().ok()?))
}

fn median(figures: &mut [u64]) -> u64 {
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// The first is the one that the others are compared with: this crate has timeouts, too.
const CLIENTS: [Kind; 4] = [
    Kind::Timeouts,
    Kind::HyperUtil,
    Kind::Middleware,
    Kind::Sevenhops,
];
const TASKS: [&str; 5] = ["1", "8", "64", "512", "4096"];
const ROUND: Duration = Duration::from_millis(700);
const ROUNDS: usize = 9;
