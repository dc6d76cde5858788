//! One good call to a payments API, then every hop broken in turn.
//!
//! ```text
//! cargo run --example seven_hops             # everything, with its own servers
//! cargo run --example seven_hops -- --json   # an object a line
//! cargo run --example seven_hops -- URL      # calls that once and prints its waterfall
//! ```

mod cases;
mod policies;
mod run;
mod tape;
mod world;

use std::error::Error as StdError;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use sevenhops::{Client, Error, Hop, Timeline};

use self::cases::{Case, Repeat};
use self::policies::{GuardCase, GuardReport, Named};
use self::run::Report;
use self::world::{Connection, Result, World};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match std::env::args().nth(1).as_deref() {
        None => experiment(false).await,
        Some("--json") => experiment(true).await,
        Some(option) if option.starts_with('-') => {
            eprintln!("usage: seven_hops [--json | URL]");
            Ok(ExitCode::from(2))
        }
        Some(url) => visit(url).await,
    }
}

/// Calls one URL, and draws what happened.
async fn visit(url: &str) -> Result<ExitCode> {
    let client = Client::builder(Duration::from_secs(10)).build()?;
    let called = async {
        let response = client.get(url).send().await?;
        let timeline = response.timeline().cloned();
        response.bytes().await?;
        Ok::<_, Error>(timeline)
    };
    match called.await {
        Ok(timeline) => {
            timeline.iter().for_each(draw);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("{error}");
            error.timeline().into_iter().for_each(draw);
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn experiment(json: bool) -> Result<ExitCode> {
    let world = World::new().await?;
    if !json {
        good_call(&world).await?;
    }
    let cases = cases::all();
    let mut right = 0;
    for case in &cases {
        let report = run::run(case, &world).await?;
        right += usize::from(report.right);
        if json {
            print_json(case, &report);
        } else {
            let reqwest = run::plain_reqwest(case, &world).await?;
            print_report(case, &report, &reqwest);
        }
    }
    let policies = policies::all();
    for case in &policies {
        let report = case.run(&world).await?;
        right += usize::from(report.report.right);
        if json {
            print_guard_json(case, &report);
        } else {
            print_guard(case, &report);
        }
    }
    let all = cases.len() + policies.len();
    if !json {
        println!("{right} of {all} right: hop, kind, effect, and the server's own count");
    }
    Ok(if right == all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn good_call(world: &World) -> Result<()> {
    let stage = world.stage(Connection::Fresh, true).await?;
    println!("── a good call\n");
    let response = stage
        .client
        .post(&stage.url)
        .body("amount=100")
        .send()
        .await?;
    let timeline = response.timeline().cloned();
    response.error_for_status()?.bytes().await?;
    timeline.iter().for_each(draw);
    println!();
    Ok(())
}

fn draw(timeline: &Timeline) {
    println!("{}", timeline.waterfall().for_terminal(&std::io::stdout()));
}

fn print_report(case: &Case, report: &Report, reqwest: &str) {
    let (hop, kind, effect) = case.expected;
    let retried = match case.repeat {
        Repeat::Yes => "yes",
        Repeat::Idem => "only if idempotent",
        Repeat::No => "no",
    };
    print_title(case.fault, case.story, case.connection);
    print_failure(report);
    println!("reqwest: {reqwest}");
    println!(
        "{}:   expected {hop}, {kind}, effect {effect}; retried: {retried}\n",
        verdict(report)
    );
}

fn print_guard(case: &GuardCase, guarded: &GuardReport) {
    let report = &guarded.report;
    print_title(case.fault, case.story, Connection::Fresh);
    print_failure(report);
    let expected = match case.expected {
        Some((Some(hop), kind, effect)) => format!("{hop}, {kind}, effect {effect}"),
        Some((None, kind, effect)) => format!("no hop, {kind}, effect {effect}"),
        None => "no failure, and the next call succeeds (above)".to_owned(),
    };
    println!("{}:   expected {expected}", verdict(report));
    for wrong in &guarded.wrong {
        println!("         does not hold: {wrong}");
    }
    println!();
}

fn print_title(fault: &str, story: &str, connection: Connection) {
    println!("── {fault} · {story} · {}\n", connection.as_str());
}

/// Prints the error, the timeline, and the requests that the server has seen.
fn print_failure(report: &Report) {
    if let Some(error) = &report.error {
        println!("{error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            println!("  because: {error}");
            cause = error.source();
        }
    }
    report.timeline.iter().for_each(draw);
    let (seen, claimed) = report.requests;
    println!("server:  {seen} requests seen, {claimed} claimed");
}

fn verdict(report: &Report) -> &'static str {
    if report.right { "right" } else { "WRONG" }
}

fn print_json(case: &Case, report: &Report) {
    let named = report.named();
    let named = named.map(|(hop, kind, effect)| (Some(hop), kind, effect));
    let line = Line {
        fault: case.fault,
        connection: case.connection.as_str(),
        expected_hop: Some(case.expected.0),
        named,
    };
    line.print(report);
}

fn print_guard_json(case: &GuardCase, guarded: &GuardReport) {
    let line = Line {
        fault: case.fault,
        connection: Connection::Fresh.as_str(),
        expected_hop: case.expected.and_then(|(hop, ..)| hop),
        named: guarded.named,
    };
    line.print(&guarded.report);
}

/// A JSON object in the output of `--json`.
struct Line {
    fault: &'static str,
    connection: &'static str,
    expected_hop: Option<Hop>,
    named: Option<Named>,
}

impl Line {
    fn print(&self, report: &Report) {
        let hop = self.named.and_then(|(hop, ..)| hop);
        println!(
            r#"{{"fault":"{}","connection":"{}","expected_hop":{},"hop":{},"kind":{},"effect":{},"requests_seen":{},"right":{}}}"#,
            self.fault,
            self.connection,
            quoted(self.expected_hop),
            quoted(hop),
            quoted(self.named.map(|(_, kind, _)| kind)),
            quoted(self.named.map(|(.., effect)| effect)),
            report.requests.0,
            report.right,
        );
    }
}

/// Writes a word of this program as JSON. No word needs escaping.
fn quoted(word: Option<impl Display>) -> String {
    word.map_or_else(|| "null".to_owned(), |word| format!("\"{word}\""))
}
