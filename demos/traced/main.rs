//! One trace through three processes: A calls B, B calls C, and C cannot look up the name of its server.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin traced [-- --export http://127.0.0.1:4318/v1/traces] [--har calls.har]
//! ```
//!
//! Each process exports its own spans over OTLP/HTTP. From the bytes that arrive and nothing else, this program builds
//! the tree. It names the hop at which the innermost call failed. It exits with a failure if the hop is not clear. With
//! `--export` the spans go to a collector of yours instead. With `--har` the calls of all three are written into one
//! file, for the network panel of a browser.

mod process;
mod receiver;
mod spawn;
mod tree;

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use sevenhops::testing::{DnsScript, ScriptedDns};

use self::process::{Orders, Outcome};
use self::receiver::Receiver;
use self::spawn::{Server, start};
use self::tree::Tree;

fn main() -> ExitCode {
    let done = arguments().and_then(|arguments| match arguments {
        Arguments::Process(orders) => play(&orders),
        Arguments::Stage { export, har } => stage(export, har),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

enum Arguments {
    /// One of the three processes, started by the first program.
    Process(Orders),
    Stage {
        export: Option<String>,
        har: Option<String>,
    },
}

fn arguments() -> Outcome<Arguments> {
    if let Some(orders) = Orders::read(std::env::args().skip(1))? {
        return Ok(Arguments::Process(orders));
    }
    let mut given = std::env::args().skip(1);
    let (mut export, mut har) = (None, None);
    while let Some(argument) = given.next() {
        let mut value = || {
            given
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--export" => export = Some(value()?),
            "--har" => har = Some(value()?),
            other => {
                return Err(
                    format!("{other} is not known; there are --export URL and --har FILE").into(),
                );
            }
        }
    }
    Ok(Arguments::Stage { export, har })
}

/// Runs one of the three processes: A makes a call, B and C serve.
fn play(orders: &Orders) -> Outcome<()> {
    let asks: &[&str] = match orders.name.as_str() {
        "a" => &["/pay"],
        _ => &[],
    };
    let (patience, next) = (Duration::from_secs(5), orders.next.clone());
    process::run(orders, (asks, patience), async |dns: &ScriptedDns, _| {
        for name in ["b.test", "c.test"] {
            dns.set(name, DnsScript::addresses([[127, 0, 0, 1].into()]));
        }
        // C's name servers are down.
        dns.set("ledger.test", DnsScript::ServFail);
        Ok(process::along(next))
    })
}

/// Starts the three processes, lets the call run, and checks the trace.
fn stage(export: Option<String>, har: Option<String>) -> Outcome<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let receiver = runtime.block_on(Receiver::start())?;
    let to = export.clone().unwrap_or_else(|| receiver.url());
    println!("A calls B, B calls C, and C cannot look up ledger.test:\n");
    let c = Server::start("c", "http://ledger.test", &to)?;
    let b = Server::start("b", &format!("http://c.test:{}", c.port), &to)?;
    let url = format!("http://b.test:{}", b.port);
    let a = start("a", &url, &to)?.wait_with_output()?;
    if !a.status.success() {
        return Err("process a failed".into());
    }
    let archives = [String::from_utf8(a.stdout)?, b.stop()?, c.stop()?];
    if let Some(file) = har {
        std::fs::write(&file, together(&archives)?)?;
        println!("\nthe calls are in {file}");
    }
    if let Some(export) = export {
        println!("\nexported to {export}");
        return Ok(());
    }
    let trees = Tree::read(&receiver.received());
    let [tree] = &*trees else {
        return Err(format!("{} traces, and there was one call", trees.len()).into());
    };
    println!("\nwhat the receiver decoded:\n\n{tree}");
    let cause = tree
        .cause()
        .ok_or("the trace does not tell where it broke")?;
    let hop = cause.hop.as_deref().unwrap_or_default();
    let found = (cause.service.as_str(), hop);
    let asked = cause.asked.as_deref().unwrap_or("nothing");
    let error_type = cause.error_type.as_deref().unwrap_or_default();
    let kind = cause.kind.as_deref().unwrap_or_default();
    println!(
        "the innermost call broke in {} at {}: {error_type} ({kind}), asking for {asked}",
        found.0, found.1
    );
    if (found, asked) != (("c", "dns"), "ledger.test") {
        return Err("that is not what happened".into());
    }
    Ok(())
}

/// Joins several archives into one.
fn together(archives: &[String]) -> Outcome<String> {
    let mut entries = Vec::new();
    let mut all = Value::Null;
    for archive in archives {
        all = serde_json::from_str(archive)?;
        match all["log"]["entries"].take() {
            Value::Array(more) => entries.extend(more),
            other => return Err(format!("{other} is not a list of entries").into()),
        }
    }
    all["log"]["entries"] = entries.into();
    Ok(serde_json::to_string_pretty(&all)?)
}
