//! One trace through three processes: A calls B, B calls C, and C cannot look up whom it needs.
//!
//! ```text
//! cargo run --example traced [-- --export http://127.0.0.1:4318/v1/traces] [--har calls.har]
//! ```
//!
//! Each process exports its own spans over OTLP/HTTP. From the bytes that arrive, and nothing else, this
//! puts the tree together and names the hop at which the innermost call failed. It exits with a failure if
//! that cannot be told. With `--export` the spans go to a collector of yours instead; with `--har` the calls
//! of all three are written into one file for the network panel of a browser.

mod process;
mod receiver;
mod tree;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use serde_json::Value;

use self::process::{Orders, Outcome};
use self::receiver::Receiver;
use self::tree::Tree;

fn main() -> ExitCode {
    let done = arguments().and_then(|arguments| match arguments {
        Arguments::Process(orders) => process::run(&orders),
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
    /// One of the three, started by the stage.
    Process(Orders),
    Stage {
        export: Option<String>,
        har: Option<String>,
    },
}

fn arguments() -> Outcome<Arguments> {
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
            "--process" => {
                return Ok(Arguments::Process(Orders {
                    name: value()?,
                    next: value()?,
                    export: value()?,
                }));
            }
            other => {
                return Err(
                    format!("{other} is not known; there are --export URL and --har FILE").into(),
                );
            }
        }
    }
    Ok(Arguments::Stage { export, har })
}

/// Starts the three, lets the call run, and looks at what came of it.
fn stage(export: Option<String>, har: Option<String>) -> Outcome<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let receiver = runtime.block_on(Receiver::start())?;
    let to = export.clone().unwrap_or_else(|| receiver.url());
    println!("A calls B, B calls C, and C cannot look up ledger.test:\n");
    let c = Server::start("c", "http://ledger.test/entries", &to)?;
    let b = Server::start("b", &format!("http://c.test:{}/book", c.port), &to)?;
    let url = format!("http://b.test:{}/pay", b.port);
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
    let tree = Tree::read(&receiver.received());
    println!("\nwhat the receiver decoded:\n\n{tree}");
    let cause = tree
        .cause()
        .ok_or("the trace does not tell where it broke")?;
    let found = (cause.service.as_str(), cause.name.as_str());
    let asked = cause.asked.as_deref().unwrap_or("nothing");
    let error_type = cause.error_type.as_deref().unwrap_or_default();
    println!(
        "the innermost call broke in {} at {}: {error_type}, asking for {asked}",
        found.0, found.1
    );
    if (found, asked) != (("c", "dns"), "ledger.test") {
        return Err("that is not what happened".into());
    }
    Ok(())
}

/// A process that serves.
struct Server {
    child: Child,
    /// It serves for as long as somebody holds this.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start(name: &str, next: &str, export: &str) -> Outcome<Self> {
        let mut child = start(name, next, export)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err("a process without input and output".into());
        };
        let (mut port, mut output) = (String::new(), BufReader::new(output));
        output.read_line(&mut port)?;
        Ok(Self {
            child,
            input,
            output,
            port: port.trim().parse()?,
        })
    }

    /// Ends it; what it printed last.
    fn stop(mut self) -> Outcome<String> {
        drop(self.input);
        let mut archive = String::new();
        self.output.read_to_string(&mut archive)?;
        match self.child.wait()?.success() {
            true => Ok(archive),
            false => Err("a server process failed".into()),
        }
    }
}

fn start(name: &str, next: &str, export: &str) -> Outcome<Child> {
    let child = Command::new(std::env::current_exe()?)
        .args(["--process", name, next, export])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}

/// One archive of several.
fn together(archives: &[String]) -> Outcome<String> {
    let mut entries = Vec::new();
    let mut all = Value::Null;
    for archive in archives {
        all = serde_json::from_str(archive)?;
        match all["log"]["entries"].take() {
            Value::Array(more) => entries.extend(more),
            other => return Err(format!("{other} is no list of entries").into()),
        }
    }
    all["log"]["entries"] = entries.into();
    Ok(serde_json::to_string_pretty(&all)?)
}
