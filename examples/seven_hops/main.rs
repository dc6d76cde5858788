//! One good call to a payments API, then every hop broken in turn.
//!
//! ```text
//! cargo run --example seven_hops             # everything, with its own servers
//! cargo run --example seven_hops -- --json   # an object a line
//! cargo run --example seven_hops -- URL      # calls that once and prints its waterfall
//! ```

mod cases;
mod run;
mod world;

use std::error::Error as StdError;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use sevenhops::{Client, Error, Timeline};

use crate::cases::{Case, Repeat};
use crate::run::Report;
use crate::world::{Connection, Result, World};

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
    if !json {
        println!(
            "{right} of {} right: hop, kind, effect, and the server's own count",
            cases.len()
        );
    }
    let all = right == cases.len();
    Ok(if all {
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
    let colour = std::io::stdout().is_terminal();
    println!("{}", timeline.waterfall().coloured(colour));
}

fn print_report(case: &Case, report: &Report, reqwest: &str) {
    let (hop, kind, effect) = case.expected;
    let repeat = match case.repeat {
        Repeat::Yes => "yes",
        Repeat::Idem => "only if idempotent",
        Repeat::No => "no",
    };
    let verdict = if report.right { "right" } else { "WRONG" };
    println!(
        "── {} · {} · {}\n",
        case.fault,
        case.story,
        case.connection.as_str()
    );
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
    println!("reqwest: {reqwest}");
    println!("{verdict}:   expected {hop}, {kind}, effect {effect}; repeated: {repeat}\n");
}

fn print_json(case: &Case, report: &Report) {
    let [hop, kind, effect] = match report.named() {
        Some((hop, kind, effect)) => [hop.to_string(), kind.to_string(), effect.to_string()]
            .map(|word| format!("\"{word}\"")),
        None => ["null"; 3].map(str::to_owned),
    };
    println!(
        r#"{{"fault":"{}","connection":"{}","expected_hop":"{}","hop":{},"kind":{},"effect":{},"requests_seen":{},"right":{}}}"#,
        case.fault,
        case.connection.as_str(),
        case.expected.0,
        hop,
        kind,
        effect,
        report.requests.0,
        report.right,
    );
}
