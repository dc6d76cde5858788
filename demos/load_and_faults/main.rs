//! Each policy alone and all together, in front of seven services in trouble.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin load_and_faults
//! ```
//!
//! A hundred calls a second go to one service for 40 s. Each has a deadline of a second. The clock is virtual and the
//! service is in memory, so each run has the same result every time.
//!
//! - **slow node**: one node of fifty takes a second instead of 20 ms.
//! - **503 burst**: the service responds 503 to all requests for two seconds.
//! - **black hole**: one node of ten drops its requests.
//! - **all 500**: the service fails all requests.
//! - **big spike**: for two seconds there are ten times the calls, twice as many as the service can process. It keeps
//!   requests in a queue, and works on them after their callers have left.
//! - **rate limit**: the service accepts a third of the calls. It responds 429 to the others, which costs it nothing.
//! - **overload**: the service has the capacity for a third of the calls. It responds 503 to the others, and each
//!   rejection costs it half of the work of a response.
//!
//! The first policy is a timeout with retries. The second one adds the retry budget. Each of the others adds one more
//! policy to these: the breaker, the concurrency limit, the hedge or the throttle. "full" has all of them except the
//! throttle.
//!
//! Each line of the table is one run. "p99" covers all calls, successful or not. "requests" counts the requests at the
//! service for each call. "wasted" is the share of requests whose response no call used.
//!
//! The claims are checked below the table. The program fails if one of them is wrong.

mod claims;
mod run;
mod stack;
mod world;

use std::process::ExitCode;
use std::thread;

use crate::claims::claims;
use crate::run::{Report, run};
use crate::stack::Stack;
use crate::world::Trouble;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, BoxError>;

fn main() -> Result<ExitCode> {
    let reports = run_all()?;
    print_table(&reports);
    let mut holds = true;
    println!();
    for claim in claims(&reports) {
        let verdict = if claim.holds { "holds" } else { "WRONG" };
        println!("{verdict}: {}: {}", claim.text, claim.measured);
        holds &= claim.holds;
    }
    Ok(match holds {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Makes all runs, in the order of the table. Each service in trouble has a thread, and each run has its own clock.
fn run_all() -> Result<Vec<Report>> {
    let all = |trouble| Stack::ALL.into_iter().map(move |stack| run(stack, trouble));
    let threads =
        Trouble::ALL.map(|trouble| thread::spawn(move || all(trouble).collect::<Result<Vec<_>>>()));
    let mut reports = Vec::new();
    for thread in threads {
        let ended = thread.join();
        reports.extend(ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
    }
    Ok(reports)
}

fn print_table(reports: &[Report]) {
    println!(
        "{:<12}{:<18}{:>9}{:>10}{:>10}{:>10}{:>9}",
        "trouble", "policies", "success", "mean", "p99", "requests", "wasted"
    );
    let mut before = None;
    for report in reports {
        if before.is_some_and(|before| before != report.trouble) {
            println!();
        }
        before = Some(report.trouble);
        let millis = |time: std::time::Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
        println!(
            "{:<12}{:<18}{:>7.1} %{:>10}{:>10}{:>10.2}{:>7.1} %",
            report.trouble.name(),
            report.stack.name(),
            report.succeeded * 100.0,
            millis(report.mean),
            millis(report.p99),
            report.requests,
            report.wasted * 100.0,
        );
    }
}
