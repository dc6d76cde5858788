//! Measures the cost of each policy in a successful call over a service in memory. The cost is the time of the call,
//! minus the time of the same call without the policy.
//!
//! It prints a table of allocations per call, then the times, then the cost of each line beyond the line that it
//! extends. Policies need a `Call` in the request, and create one if there is none. So each is measured inside a
//! [`DeadlineLayer`], as in the standard stack, and alone.
//!
//! In the group `contention`, tasks on two threads share one layer's breakers and budgets. The tasks share one
//! destination, or each has its own. With more tasks, the calls a second must not decrease.
//!
//! ```text
//! cargo bench -p sevenhops-benches --bench policies
//! cargo bench -p sevenhops-benches --bench policies -- contention
//! ```
//!
//! How people get it wrong: they compare lines of two runs. The leaf is measured in each run, and only the difference
//! to it counts.

#[path = "driver/policies.rs"]
mod cases;
#[path = "driver/clock.rs"]
mod clock;
mod driver;
mod rival;
#[path = "driver/table.rs"]
mod table;

use std::time::Duration;

use criterion::{Criterion, Throughput};
use http::Method;
use sevenhops::{CircuitBreakerLayer, DeadlineLayer, RetryConfig, RetryLayer, Timeouts};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tower::Layer;

use crate::cases::{ask, each_policy};
use crate::clock::Clock;
use crate::driver::{DEADLINE, Leaf, calls};
use crate::table::Table;

fn main() {
    let mut table = Table::new();
    each_policy(&mut table);

    // The allocator counts every allocation that does not opt out.
    allocation_counter::opt_out(|| {
        let mut criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_secs(1))
            .sample_size(40)
            .nresamples(20_000)
            .configure_from_args();
        let mut clock = Clock::new(&mut criterion, "policies");
        each_policy(&mut clock);
        print_prices(&clock.best);
        drop(clock);
        contention(&mut criterion);
        criterion.final_summary();
    });
}

/// Prints the cost of each case beyond the case that it extends: the one with its name up to the last `+`.
fn print_prices(best: &[(String, f64)]) {
    if best.is_empty() {
        return;
    }
    println!(
        "\n{:<30}{:>10}{:>10}   beyond",
        "best of all samples", "ns", "more ns"
    );
    for (name, nanos) in best {
        let base = name.rsplit_once(" +").map_or("", |(base, _)| base);
        let known = best.iter().find(|(name, _)| name == base);
        match known {
            Some((_, without)) => {
                println!("{name:<30}{nanos:>10.0}{:>10.0}   {base}", nanos - without);
            }
            None => println!("{name:<30}{nanos:>10.0}"),
        }
    }
    println!();
}

/// Measures tasks that share one layer, on two threads.
fn contention(criterion: &mut Criterion) {
    let runtime = runtime(2);
    let mut group = criterion.benchmark_group("contention");
    group.throughput(Throughput::Elements(1));
    for spread in [false, true] {
        for tasks in [1, 2, 4, 8, 16] {
            let to = if spread { "one each" } else { "one for all" };
            group.bench_function(format!("{tasks} tasks, destination: {to}"), |bencher| {
                bencher.iter_custom(|times| share(&runtime, (tasks, spread), times));
            });
        }
    }
}

/// Divides this number of calls between tasks. Returns how long they took together.
fn share(runtime: &Runtime, (tasks, spread): (u64, bool), times: u64) -> Duration {
    let timeouts = Timeouts::new(DEADLINE).expect("ten seconds are a deadline");
    let call = DeadlineLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let retry = RetryLayer::new(RetryConfig::new()).expect("defaults are valid");
    let breaker = CircuitBreakerLayer::new(timeouts);
    let service = call.layer(retry.layer(breaker.layer(LEAF)));
    runtime.block_on(async {
        let start = Instant::now();
        let tasks: Vec<_> = (0..tasks)
            .map(|task| {
                let mut service = service.clone();
                let mut ask = ask(Method::GET);
                if spread {
                    let uri = format!("https://api{task}.test/v1/charges").parse();
                    *ask.uri_mut() = uri.expect("the URL is valid");
                }
                let part = times.div_ceil(tasks);
                tokio::spawn(async move { calls(&mut service, &ask, part).await })
            })
            .collect();
        for task in tasks {
            task.await.expect("calls do not panic");
        }
        start.elapsed()
    })
}

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_time()
        .build()
        .expect("a runtime without sockets needs nothing")
}

const LEAF: Leaf = Leaf { waits: false };
