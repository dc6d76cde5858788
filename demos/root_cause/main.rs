//! A failure five services deep: one trace leads to the service and the hop.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin root_cause
//! ```
//!
//! There are five processes: web asks orders, orders asks payments, payments asks ledger, ledger asks archive. Archive
//! asks one more server. This runs five times, each time with another fault of that server. Its name cannot be looked
//! up, its port is closed, its certificate has expired, it is silent, or its response breaks off. For web all of these
//! look the same: a 502 from orders.
//!
//! Each process exports its own spans over OTLP/HTTP. From the bytes that arrive and nothing else, this program builds
//! the five trees. It names the service and the hop at which the failure began. It exits with a failure if one of the
//! five is wrong.
//!
//! Each service has a shorter deadline than its caller. With equal deadlines, web would give up on orders when archive
//! gives up on the silent server. The reason would be lost.

mod fault;
#[path = "../traced/process.rs"]
mod process;
#[path = "../traced/receiver.rs"]
mod receiver;
#[path = "../traced/spawn.rs"]
mod spawn;
#[path = "../traced/tree.rs"]
mod tree;

use std::process::ExitCode;
use std::time::Duration;

use sevenhops::testing::{DnsScript, ScriptedDns, TestCa};

use self::fault::{FAULTS, Fault};
use self::process::{Orders, Outcome};
use self::receiver::Receiver;
use self::spawn::{Server, start};
use self::tree::Tree;

fn main() -> ExitCode {
    let done = match Orders::read(std::env::args().skip(1)) {
        Ok(Some(orders)) => play(&orders),
        Ok(None) => stage(),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one of the five processes. The first asks for every fault, the others serve.
fn play(orders: &Orders) -> Outcome<()> {
    let depth = SERVICES.iter().position(|name| *name == orders.name);
    let depth = depth.ok_or("unknown service")?;
    let asks: Vec<&str> = match depth {
        0 => FAULTS.iter().map(|fault| fault.path).collect(),
        _ => Vec::new(),
    };
    let prepare = async |dns: &ScriptedDns, authority: &TestCa| {
        for name in SERVICES {
            let here = DnsScript::addresses([[127, 0, 0, 1].into()]);
            dns.set(&format!("{name}.test"), here);
        }
        match depth == SERVICES.len() - 1 {
            true => fault::far_side(dns, authority).await,
            false => Ok(process::along(orders.next.clone())),
        }
    };
    process::run(orders, (&asks, PATIENCE[depth]), prepare)
}

/// Starts the five processes, from the last to the first. Lets the calls run, and checks the traces.
fn stage() -> Outcome<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let receiver = runtime.block_on(Receiver::start())?;
    let to = receiver.url();
    println!("what the services log: five lines a call, and four of them say 502\n");
    let [web, others @ ..] = SERVICES;
    let (mut servers, mut next) = (Vec::new(), String::from("beyond"));
    for name in others.into_iter().rev() {
        let server = Server::start(name, &next, &to)?;
        next = format!("http://{name}.test:{}", server.port);
        servers.push(server);
    }
    if !start(web, &next, &to)?.wait_with_output()?.status.success() {
        return Err("the first process failed".into());
    }
    for server in servers {
        server.stop()?;
    }
    let trees = Tree::read(&receiver.received());
    if trees.len() != FAULTS.len() {
        return Err(format!("{} traces of {} calls", trees.len(), FAULTS.len()).into());
    }
    println!("\nthe first of the five traces, from the bytes that the receiver decoded\n");
    println!("{}", trees[0]);
    println!("what is wrong beyond archive, and what its trace says\n");
    let mut right = 0;
    for (fault, tree) in FAULTS.iter().zip(&trees) {
        right += usize::from(judge(fault, tree));
    }
    println!(
        "\n{right} of {} traces lead to the root cause",
        FAULTS.len()
    );
    if right < FAULTS.len() {
        return Err("and that is not all of them".into());
    }
    Ok(())
}

/// Prints the result of a trace, and whether it is true.
fn judge(fault: &Fault, tree: &Tree) -> bool {
    let Some(cause) = tree.cause() else {
        println!("FAILED  {:<39}nothing", fault.what);
        return false;
    };
    let kind = cause.kind.as_deref().unwrap_or_default();
    let hop = cause.hop.as_deref().unwrap_or_default();
    let found = (cause.service.as_str(), hop, kind);
    let right = found == (SERVICES[SERVICES.len() - 1], fault.shown.0, fault.shown.1);
    let verdict = if right { "holds " } else { "FAILED" };
    let error_type = cause.error_type.as_deref().unwrap_or_default();
    let service = &cause.service;
    print!(
        "{verdict}  {:<39}{service} at {hop}: {kind} ({error_type})",
        fault.what
    );
    match &cause.asked {
        Some(asked) => println!(", asking for {asked}"),
        None => println!(),
    }
    right
}

const SERVICES: [&str; 5] = ["web", "orders", "payments", "ledger", "archive"];
/// Far enough apart for a busy machine.
const PATIENCE: [Duration; 5] = [
    Duration::from_secs(10),
    Duration::from_secs(8),
    Duration::from_secs(6),
    Duration::from_secs(4),
    Duration::from_secs(2),
];
