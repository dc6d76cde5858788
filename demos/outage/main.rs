//! Policies in front of a service that fails. The demo shows the load, the responses that callers get, and the time
//! from the recovery to full service.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin outage
//! ```
//!
//! A thousand calls a second go to one service, whether or not the earlier ones have ended. The service is well for
//! five seconds. Then it fails 0, 30 or 50 % of its requests for 20 s, or all of them for a minute. Or it throttles for
//! 20 s: it takes a third of the calls, and responds 503 to the others. Then it is well again. Everything is in memory
//! and the clock is virtual. So the demo takes seconds, and its result is the same each time.
//!
//! Each line of the table is one run. These columns are about the time in which the service fails:
//!
//! - **load**: requests that reached the service, for each call that was made. 3.00 means three times the traffic, on a
//!   service that is already failing.
//! - **busiest**: the same, in the second with the highest load.
//! - **succeeded**: calls that got a good response.
//! - **wasted**: requests that the service failed.
//!
//! These are about the time after that:
//!
//! - **full again**: the time from the recovery until calls succeeded at 99 % of the full rate, and continued to do so.
//! - **open time**: the open time that the breaker had chosen, if it was open when the service recovered.
//!
//! The claims on the policies are checked below the table. The program fails if one of them is wrong. A breaker does
//! not know when a service recovers: it probes when its open time is over. So the claim is full traffic within that
//! time, which doubles with every probe that fails.

mod backend;
mod claims;
mod ledger;
mod run;

use std::process::ExitCode;
use std::thread;

use crate::backend::Trouble;
use crate::claims::claims;
use crate::run::{Policies, Report, run};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, BoxError>;

fn main() -> Result<ExitCode> {
    let reports = run_all()?;
    print_table(&reports);
    let mut all = true;
    println!();
    for claim in claims(&reports) {
        let verdict = if claim.holds { "holds" } else { "WRONG" };
        println!("{verdict}: {}: {}", claim.text, claim.measured);
        all &= claim.holds;
    }
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All runs, in the order of the table. Each has a thread and a clock of its own.
fn run_all() -> Result<Vec<Report>> {
    let threads: Vec<_> = TROUBLES
        .into_iter()
        .flat_map(|trouble| {
            Policies::ALL.map(|policies| thread::spawn(move || run(policies, trouble)))
        })
        .collect();
    let join = |thread: thread::JoinHandle<_>| {
        let ended = thread.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    };
    threads.into_iter().map(join).collect()
}

fn print_table(reports: &[Report]) {
    println!(
        "{:<10}{:<26}{:>6}{:>9}{:>11}{:>9}{:>12}{:>11}",
        "failing", "policies", "load", "busiest", "succeeded", "wasted", "full again", "open time"
    );
    let mut before = None;
    for report in reports {
        if before.is_some_and(|before| before != report.trouble) {
            println!();
        }
        before = Some(report.trouble);
        let open = report.open_time.map_or_else(
            || String::from("-"),
            |open| format!("{:.1} s", open.as_secs_f64()),
        );
        println!(
            "{:<10}{:<26}{:>6.2}{:>9.2}{:>9.1} %{:>9}{:>10.1} s{:>11}",
            report.trouble.name(),
            report.policies.name(),
            report.load,
            report.busiest,
            report.succeeded * 100.0,
            report.wasted,
            report.full_again.as_secs_f64(),
            open,
        );
    }
}

/// The ways in which the service fails.
const TROUBLES: [Trouble; 5] = [
    Trouble::Fails(0.0),
    Trouble::Fails(0.3),
    Trouble::Fails(0.5),
    Trouble::Fails(1.0),
    Trouble::Throttles,
];
