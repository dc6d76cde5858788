//! Measures seatbelt and fetch beside this crate. They need Rust 1.95, so this package is not in the workspace.
//!
//! ```text
//! cd benches/peers
//! cargo run --release -- memory                       # seatbelt: instructions and times (needs valgrind)
//! cargo run --release --features fetch -- loopback    # fetch: instructions (needs valgrind)
//! ```
//!
//! Valgrind counts as for `.ci/budget`: N calls, then 2 N. The times are those of the processor, in turns.

#[path = "../driver/mod.rs"]
#[expect(dead_code, reason = "its ruler measures tower's services only")]
mod driver;
#[cfg(feature = "fetch")]
mod loopback;
mod memory;
#[path = "../rival/mod.rs"]
mod rival;
#[cfg(feature = "fetch")]
#[path = "../loopback/server.rs"]
mod server;
#[path = "../budget/valgrind.rs"]
mod valgrind;

use std::process::ExitCode;
use std::{env, fs};

use crate::memory::STACKS;
use crate::valgrind::Counts;

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let number = |calls: &str| calls.parse().expect("CALLS is a number");
    let ended = match &words[..] {
        ["memory"] => memory(),
        ["memory", stack, waits, calls] => {
            memory::make_calls(stack, *waits == WAITS[1], number(calls));
            Ok(())
        }
        #[cfg(feature = "fetch")]
        ["loopback"] => loopback(),
        #[cfg(feature = "fetch")]
        ["loopback", address, client, calls] => {
            loopback::make_calls(address, client, number(calls));
            Ok(())
        }
        #[cfg(feature = "fetch")]
        ["server"] => {
            server::serve("127.0.0.1:0");
            Ok(())
        }
        _ => Err("usage: memory, or loopback with `--features fetch`".into()),
    };
    ended.map_or_else(
        |error: String| {
            eprintln!("{error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn memory() -> Result<(), String> {
    for waits in WAITS {
        println!("\nA response {waits}:");
        print(&STACKS, |stack| {
            Counts::of_a_call(&["memory", stack, waits], COUNTED)
        })?;
    }
    for waits in WAITS {
        let took = |stack| {
            let before = processor_time();
            memory::make_calls(stack, waits == WAITS[1], TIMED);
            (processor_time() - before) / TIMED as f64
        };
        let turns = [(); TURNS].map(|()| STACKS.map(took));
        println!("\n{:<30}{:>12}{:>10}", waits, "ns, median", "ratio");
        for (nth, stack) in STACKS.into_iter().enumerate() {
            let each = median(turns.map(|turn| turn[nth]));
            let ratio = median(turns.map(|turn| turn[nth] / turn[0]));
            println!("{stack:<30}{each:>12.0}{ratio:>10.2}");
        }
    }
    Ok(())
}

#[cfg(feature = "fetch")]
fn loopback() -> Result<(), String> {
    let server = server::Server::start();
    let address = server.address.to_string();
    print(&loopback::CLIENTS, |client| {
        Counts::of_a_call(&["loopback", &address, client], COUNTED)
    })
}

/// Prints the counts of a call, and the ratio of its instructions to those of the first.
fn print(names: &[&str], of: impl Fn(&str) -> Result<Counts, String>) -> Result<(), String> {
    println!(
        "{:<30}{:>12}{:>8}{:>8}{:>12}{:>10}{:>8}",
        "call", "instructions", "ratio", "misses", "allocations", "bytes", "clock"
    );
    let mut base = None;
    for name in names {
        let now = of(name)?;
        let base = base.get_or_insert(now);
        println!(
            "{name:<30}{:>12.0}{:>8.2}{:>8.0}{:>12.1}{:>10.0}{:>8.1}",
            now.instructions,
            now.instructions / base.instructions,
            now.misses,
            now.allocations,
            now.heap_bytes,
            now.clock_readings,
        );
    }
    Ok(())
}

/// Returns how long this thread has had the processor, in nanoseconds.
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let first = stat.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).expect("a number")
}

fn median(mut figures: [f64; TURNS]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[TURNS / 2]
}

/// When the service responds: at the first poll, or at the second.
const WAITS: [&str; 2] = ["at once", "later"];
/// As many calls as in `.ci/budget`.
const COUNTED: u32 = 500;
const TIMED: u64 = 400_000;
const TURNS: usize = 7;
