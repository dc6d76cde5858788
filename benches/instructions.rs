//! Counts the instructions of the stack with valgrind, for the cases of `call` and `policies`.
//!
//! Time depends on the other load of the machine. Instructions do not, so they can have a budget. A case runs twice,
//! the second time with twice the calls. The difference is the cost of the calls, without the start of the process.
//!
//! ```text
//! cargo bench -p sevenhops-benches --bench instructions                    # all cases
//! cargo bench -p sevenhops-benches --bench instructions -- over +standard  # the names with one of these words
//! cargo bench -p sevenhops-benches --bench instructions -- run CASE CALLS  # the calls alone, for a profiler
//! ```
//!
//! How people get it wrong: they equate instructions with time. Reading the clock costs 60 instructions here, and
//! takes 27 ns.

#[path = "driver/cases.rs"]
mod cases;
mod driver;
#[path = "driver/policies.rs"]
mod policies;
mod rival;
#[path = "driver/run.rs"]
mod run;

use std::env;
use std::fmt::Debug;
use std::process::{Command, ExitCode};

use http::Response;
use http_body::Body;
use tower::Service;

use crate::cases::each_case;
use crate::driver::{Ask, Ruler};
use crate::policies::each_policy;
use crate::run::Run;

fn main() -> ExitCode {
    // Cargo adds the argument `--bench`.
    let words: Vec<_> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    if let [run, case, calls] = &words[..]
        && run == "run"
    {
        let calls = calls.parse().expect("CALLS is a number");
        let mut run = Run::new(case, calls);
        each_case(&mut run);
        each_policy(&mut run);
        return ExitCode::from(u8::from(!run.has_run));
    }
    let mut names = Names(Vec::new());
    each_case(&mut names);
    each_policy(&mut names);
    let is_wanted =
        |name: &&String| words.is_empty() || words.iter().any(|word| name.contains(word));
    println!("{:<34}{:>14}", "per call", "instructions");
    for name in names.0.iter().filter(is_wanted) {
        let (Some(once), Some(twice)) = (count(name, CALLS), count(name, 2 * CALLS)) else {
            println!("{name}: valgrind is not installed, or cannot run this program");
            return ExitCode::FAILURE;
        };
        println!("{name:<34}{:>14}", twice.saturating_sub(once) / CALLS);
    }
    ExitCode::SUCCESS
}

/// Returns the instructions of a process that makes this number of calls.
fn count(case: &str, calls: u64) -> Option<u64> {
    let valgrind = [
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
    ];
    let mut command = Command::new("valgrind");
    command.args(valgrind).arg(env::current_exe().ok()?);
    let ended = command
        .args(["run", case, &calls.to_string()])
        .output()
        .ok()?;
    // ==4711== I   refs:      12,345,678
    let told = String::from_utf8_lossy(&ended.stderr);
    let refs = told.lines().find(|line| line.contains("refs:"))?;
    refs.rsplit(' ').next()?.replace(',', "").parse().ok()
}

/// Collects the names of the cases.
struct Names(Vec<String>);

impl Ruler for Names {
    fn measure<S, R>(&mut self, name: &str, _request: &Ask, _service: S)
    where
        S: Service<Ask, Response = Response<R>, Error: Debug>,
        R: Body<Error: Debug>,
    {
        self.0.push(name.into());
    }
}

/// Enough calls: two runs differ by less than a hundredth.
const CALLS: u64 = 2_000;
