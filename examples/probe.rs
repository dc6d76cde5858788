//! Calls a URL, draws where the time went, and names the hop that failed.
//!
//! ```text
//! cargo run --example probe -- URL [-n CALLS] [--har FILE]
//! ```
//!
//! Exits with 1 if a call failed.

use std::io::stdout;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use sevenhops::hop::Har;
use sevenhops::{Client, Timeline};

struct Arguments {
    url: String,
    calls: u32,
    har: Option<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let Some(arguments) = arguments(env::args().skip(1)) else {
        eprintln!("usage: probe URL [-n CALLS] [--har FILE]");
        return Ok(ExitCode::from(2));
    };
    let client = Client::builder(Duration::from_secs(10)).build()?;
    let mut timelines: Vec<Timeline> = Vec::new();
    let mut failed = 0;
    for _ in 0..arguments.calls {
        let timeline = match call(&client, &arguments.url).await {
            Ok(timeline) => timeline,
            Err(error) => {
                failed += 1;
                println!("{error}");
                error.timeline().cloned()
            }
        };
        if let Some(timeline) = &timeline {
            println!("{}", timeline.waterfall().for_terminal(&stdout()));
        }
        timelines.extend(timeline);
    }
    if arguments.calls > 1 {
        println!("{failed} of {} calls failed", arguments.calls);
    }
    if let Some(file) = arguments.har {
        fs::write(file, timelines.iter().collect::<Har>().to_string())?;
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Receives the whole response, and returns its timeline.
async fn call(client: &Client, url: &str) -> Result<Option<Timeline>, sevenhops::Error> {
    let response = client
        .get(url)
        .options(|options| options.retry(false))
        .send()
        .await?;
    let response = response.error_for_status()?;
    let timeline = response.timeline().cloned();
    response.bytes().await?;
    Ok(timeline)
}

fn arguments(mut given: impl Iterator<Item = String>) -> Option<Arguments> {
    let (mut url, mut calls, mut har) = (None, 1, None);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "-n" => calls = given.next()?.parse().ok()?,
            "--har" => har = Some(given.next()?),
            _ if url.is_none() => url = Some(argument),
            _ => return None,
        }
    }
    Some(Arguments {
        url: url?,
        calls,
        har,
    })
}
