//! Calls a URL, draws where the time went, and names the hop that failed.
//!
//! ```text
//! cargo run --example probe -- URL [-n CALLS] [--deadline TIME] [--keep-alive] [--fail-on HOPS] [--json] [--har FILE]
//! ```
//!
//! | option | meaning | default |
//! |---|---|---|
//! | `-n CALLS` | calls, one after another: 1 to 10000. From 2 on, a table shows the times of each stage | 1 |
//! | `--deadline TIME` | of each call, to the last byte: `500ms`, `2s` | `10s` |
//! | `--keep-alive` | keeps the connection and the DNS cache for the next call | each call is a first call |
//! | `--fail-on HOPS` | the hops whose failures count, with commas: `dns,connect,tls` | all |
//! | `--json` | prints one JSON document, and nothing else | waterfalls |
//! | `--har FILE` | writes an HTTP archive | none |
//!
//! The exit status tells the hop of the first failure that counts:
//!
//! | status | failed at | status | failed at |
//! |---|---|---|---|
//! | 0 | no failure counts | 14 | send |
//! | 1 | no hop: the deadline passed before one | 15 | gateway (502, 504) |
//! | 2 | the arguments, or the file | 16 | server (4xx, 5xx, silence) |
//! | 10 | encode (the URL) | 17 | receive |
//! | 11 | dns | 18 | decode |
//! | 12 | connect | | |
//! | 13 | tls | | |
//!
//! In Kubernetes, give the call less time than the kubelet gives the probe:
//!
//! ```yaml
//! readinessProbe:
//!   timeoutSeconds: 3
//!   exec:
//!     command: [/probe, "http://127.0.0.1:8080/ready", --deadline, 2s]
//! ```

mod arguments;
mod report;
mod summary;
mod times;

use std::fs;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use sevenhops::hop::Har;
use sevenhops::{Client, Error, Hop, Timeline};

use self::arguments::Arguments;
use self::times::Times;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(reason) => {
            eprintln!("{reason}\n{}", arguments::USAGE);
            return Ok(ExitCode::from(2));
        }
    };
    let mut run = Run::default();
    if let Err(reason) = run.probe(&arguments).await {
        eprintln!("{reason}");
        return Ok(ExitCode::from(2));
    }
    Ok(ExitCode::from(run.status))
}

/// The results of all calls.
#[derive(Default)]
struct Run {
    times: Times,
    failures: Vec<Failed>,
    timelines: Vec<Timeline>,
    /// The exit status.
    status: u8,
}

struct Failed {
    /// The number of the call, from 1.
    call: u32,
    error: Error,
    /// Whether its hop is one of those to fail on.
    counts: bool,
}

impl Run {
    async fn probe(&mut self, arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
        let mut client = build(arguments.deadline)?;
        for number in 1..=arguments.calls {
            if !arguments.keeps_alive && number > 1 {
                client = build(arguments.deadline)?;
            }
            let timeline = match call(&client, &arguments.url).await {
                Ok(timeline) => timeline,
                Err(error) => {
                    let timeline = error.timeline().cloned();
                    self.add(number, error, arguments);
                    timeline
                }
            };
            if let Some(timeline) = timeline {
                self.times.add(&timeline);
                if !arguments.json {
                    let waterfall = timeline.waterfall();
                    writeln!(stdout(), "{}", waterfall.for_terminal(&stdout()))?;
                }
                if arguments.har.is_some() {
                    self.timelines.push(timeline);
                }
            }
        }
        if let Some(file) = &arguments.har {
            let archive = self.timelines.iter().collect::<Har>();
            fs::write(file, archive.to_string()).map_err(|error| format!("{file}: {error}"))?;
        }
        report::write(self, arguments, &mut stdout().lock())?;
        Ok(())
    }

    fn add(&mut self, call: u32, error: Error, arguments: &Arguments) {
        if !arguments.json {
            println!("{error}");
        }
        let counts = arguments.counts(error.hop());
        if counts && self.status == 0 {
            self.status = status(error.hop());
        }
        let failed = Failed {
            call,
            error,
            counts,
        };
        self.failures.push(failed);
    }
}

fn build(deadline: Duration) -> Result<Client, sevenhops::ConfigError> {
    Client::builder(deadline).build()
}

/// Receives the whole response without keeping it, and returns its timeline.
async fn call(client: &Client, url: &str) -> Result<Option<Timeline>, Error> {
    let response = client
        .get(url)
        .options(|options| options.retry(false))
        .send()
        .await?;
    let mut response = response.error_for_status()?;
    while response.chunk().await?.is_some() {}
    Ok(response.timeline().cloned())
}

/// Returns the exit status of a failure.
fn status(hop: Option<Hop>) -> u8 {
    match hop {
        None => 1,
        Some(Hop::Encode) => 10,
        Some(Hop::Decode) => 18,
        Some(hop) => 10 + hop.number().unwrap_or_default(),
    }
}
