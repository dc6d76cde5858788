//! Mixed traffic for many minutes. The demo checks whether anything is left behind: tasks, descriptors, memory,
//! permits, budgets.
//!
//! ```text
//! cargo run --release -p sevenhops-demos --bin soak                  # 30 minutes
//! cargo run --release -p sevenhops-demos --bin soak -- --minutes 3
//! ```
//!
//! One client makes about 400 calls a second, over HTTP/1 and over HTTP/2 in TLS, to four names. Downloads, uploads and
//! streams are among them. Some callers drop the call at a random moment, or the response in its middle. The servers
//! and the name server are a second process of this program.
//!
//! - `steady.test` answers after 20 ms.
//! - `moving.test` has another address every 3 s, with a TTL of 1 s. At times its lookup fails.
//! - `faulty.test` fails a quarter of its requests, in ten ways.
//! - `flapping.test` fails everything for 3 s of every 20 s, and opens its circuit.
//!
//! A first quarter of a minute warms the client up. Then the traffic rests, and the program takes stock. After the
//! traffic it rests again, and takes stock again. Connections have ended by then, because their idle timeout is 3 s.
//! The last check is that no permit is lost. For each destination, as many calls are in flight at once as it may have
//! connections. The server responds to them when it has all of them.
//!
//! The program fails if a claim is wrong. A part of the calls to `steady.test` is timed, beside those of a plain client:
//! if they become slower, too, the machine is the cause. The CPU time of a call is compared as well.

mod claims;
mod server;
mod stock;
mod traffic;

use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::sleep;

use crate::claims::{Soak, claims};
use crate::server::Servers;
use crate::stock::{Footprint, Stock};
use crate::traffic::{Counts, Traffic};

type BoxError = Box<dyn StdError + Send + Sync>;
type Result<T> = std::result::Result<T, BoxError>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let minutes = match args[..] {
        ["--server"] => return server::serve().await,
        [] => 30,
        ["--minutes", minutes] => minutes.parse()?,
        _ => 0,
    };
    if minutes < 2 {
        eprintln!("usage: soak [--minutes MINUTES], at least 2");
        return Ok(ExitCode::from(2));
    }
    let soak = soak(minutes).await?;
    soak.print();
    let mut all = true;
    println!();
    for claim in claims(&soak) {
        let verdict = if claim.holds { "holds " } else { "FAILED" };
        println!("{verdict}  {}: {}", claim.text, claim.measured);
        all &= claim.holds;
    }
    Ok(ExitCode::from(u8::from(!all)))
}

async fn soak(minutes: u32) -> Result<Soak> {
    let servers = Servers::start().await?;
    let client = traffic::client(&servers)?;
    let before = Footprint::now()?;
    let warm_up = Traffic::begin(&client, &servers)?;
    sleep(WARM_UP).await;
    warm_up.end().await;
    let began = Stock::take(&client, &servers).await?;

    let traffic = Traffic::begin(&client, &servers)?;
    let mut each = Vec::new();
    for minute in 1..=minutes {
        traffic.count_from_here()?;
        sleep(MINUTE).await;
        let counts = traffic.counts()?;
        println!("minute {minute:>2}: {counts}");
        each.push(counts);
    }
    traffic.end().await;
    let ended = Stock::take(&client, &servers).await?;

    drop(client);
    sleep(FAREWELL).await;
    Ok(Soak {
        before,
        began,
        each,
        ended,
        after: Footprint::now()?,
    })
}

impl Soak {
    fn print(&self) {
        println!(
            "\n{:<28}{:>8}{:>13}{:>12}",
            "", "tasks", "descriptors", "resident"
        );
        let rows = [
            ("before the first call", &self.before),
            ("after the first traffic", &self.began.footprint),
            ("after all traffic", &self.ended.footprint),
            ("without the client", &self.after),
        ];
        for (name, footprint) in rows {
            println!("{name:<28}{footprint}");
        }
        println!(
            "\n{:<36}{:>10}{:>20}",
            "destination", "circuit", "retries it affords"
        );
        for account in &self.ended.accounts {
            println!("{account}");
        }
        let total: Counts = self.each.iter().sum();
        println!("\nof all calls: {total}");
    }
}

/// Long enough that each name had its troubles.
const WARM_UP: Duration = Duration::from_secs(25);
const MINUTE: Duration = Duration::from_secs(60);
/// Tasks of a client that is gone end within this time.
const FAREWELL: Duration = Duration::from_secs(2);
