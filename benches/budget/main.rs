//! Holds the cost of a call in its budget, `benches/budget.toml`.
//!
//! ```text
//! cargo bench -p sevenhops-benches --bench budget              # fails if a figure leaves its budget (needs valgrind)
//! cargo bench -p sevenhops-benches --bench budget -- update    # writes the figures of this run as the new budget
//! ```
//!
//! Time depends on the other load of the machine, so it has no budget. Instructions and cache misses are compared with
//! those of another crate in the same run: a new compiler changes both. Allocations, bytes of the heap and readings of
//! the clock are those of this crate alone.
//!
//! How people get it wrong: they update the budget because it failed. An update needs a commit that gives the reason.

#[path = "../driver/cases.rs"]
mod cases;
#[path = "../loopback/clients.rs"]
mod clients;
#[path = "../driver/mod.rs"]
mod driver;
mod figures;
#[path = "../rival/mod.rs"]
mod rival;
#[path = "../driver/run.rs"]
mod run;
#[path = "../loopback/server.rs"]
mod server;
mod valgrind;

use std::process::ExitCode;
use std::{env, fs};

use crate::cases::each_case;
use crate::figures::{Budget, Measured, Peer};
use crate::run::Run;
use crate::server::Server;
use crate::valgrind::Counts;

fn main() -> ExitCode {
    // Cargo adds the argument `--bench`.
    let words: Vec<_> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    // In this workspace reqwest is built without a crypto provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = match &words[..] {
        ["server"] => {
            server::serve("127.0.0.1:0");
            Ok(true)
        }
        ["loopback", address, client, work, calls] => {
            let calls = calls.parse().expect("CALLS is a number");
            clients::make_calls(address, client, work, calls);
            Ok(true)
        }
        ["memory", case, calls] => {
            let mut run = Run::new(case, calls.parse().expect("CALLS is a number"));
            each_case(&mut run);
            Ok(run.has_run)
        }
        [] => check(),
        ["update"] => update(),
        _ => Err(String::from("usage: budget [update]")),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints each figure beside its budget. Returns whether all of them are within.
fn check() -> Result<bool, String> {
    let budget = read()?;
    let is_within = budget.print(&measure(&budget)?)?;
    if !is_within {
        println!("\nA figure left its budget. Find the cause, and mend it.");
        println!(
            "If the cost is worth it: `.ci/budget update`, in a commit that gives the reason."
        );
    }
    Ok(is_within)
}

fn update() -> Result<bool, String> {
    let old = read()?;
    let measured = measure(&old)?;
    // The table shows the old budget beside the new one, and new figures are not an error here.
    let _ = old.print(&measured);
    let new = old.updated(&measured);
    fs::write(FILE, new).map_err(|error| format!("{FILE}: {error}"))?;
    Ok(true)
}

fn read() -> Result<Budget, String> {
    let text = fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
    Budget::read(&text).map_err(|error| format!("{FILE}: {error}"))
}

/// Measures all calls. Those that leave the budget are measured again: another process may have delayed a packet, so
/// that a call took one more read.
fn measure(budget: &Budget) -> Result<Vec<Measured>, String> {
    let server = Server::start();
    let address = server.address.to_string();
    let mut measured = Vec::new();
    let mut keep = |measure: &dyn Fn() -> Result<Vec<Measured>, String>| {
        let mut latest = measure()?;
        for _ in 0..AGAIN {
            if budget.holds(&latest) {
                break;
            }
            latest = measure()?;
        }
        measured.extend(latest);
        Ok::<_, String>(())
    };
    for (work, calls) in LOOPBACK {
        let of = |client| Counts::of_a_call(&["loopback", &address, client, work], calls);
        keep(&|| {
            let (ours, peer) = (of("sevenhops")?, of("reqwest")?);
            Ok(Measured::all(work, &ours, (Peer::Reqwest, &peer)))
        })?;
    }
    let of = |case| Counts::of_a_call(&["memory", case], MANY);
    for (peer, cases) in MEMORY {
        let peer = of(peer)?;
        for (name, case) in cases {
            keep(&|| {
                Ok(Measured::all(
                    name,
                    &of(case)?,
                    (Peer::TowerResilience, &peer),
                ))
            })?;
        }
    }
    Ok(measured)
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/budget.toml");
/// The calls over loopback, beside bare reqwest.
const LOOPBACK: [(&str, u32); 5] = [
    ("get-h1", MANY),
    ("get-h2", MANY),
    ("post-h1", MANY),
    ("1MiB-down-h1", FEW),
    ("1MiB-up-h1", FEW),
];
/// The name in the budget, and that of `call`.
type Case = (&'static str, &'static str);
/// A stack of another crate, and the cases of `call` that are compared with it.
const MEMORY: [(&str, [Case; 2]); 2] = [
    (
        "tower-resilience",
        [
            ("standard-layer", "StandardLayer"),
            ("standard-layer-over", "StandardLayer::over"),
        ],
    ),
    (
        "tower-resilience, waiting",
        [
            ("standard-layer-waiting", "StandardLayer, waiting"),
            (
                "standard-layer-over-waiting",
                "StandardLayer::over, waiting",
            ),
        ],
    ),
];
/// Enough calls: two runs differ by less than the slack.
const MANY: u32 = 500;
const FEW: u32 = 30;
const AGAIN: usize = 2;
