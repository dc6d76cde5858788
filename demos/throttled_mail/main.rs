//! Eighty mails through an API that throttles and ignores idempotency keys, and no mail goes out twice.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin throttled_mail               # this client
//! cargo run -p sevenhops-demos --bin throttled_mail -- --naive    # the control: plain reqwest, blind retries
//! cargo run -p sevenhops-demos --bin throttled_mail -- --seed 7   # the same luck again
//! ```
//!
//! The API lets twenty mails through at once, then twenty a second. It refuses all others with a 429. Each says when to
//! come back, in one of three ways: `Retry-After` in seconds, `Retry-After` as a date, or `RateLimit` alone. These are
//! safe to retry: nothing was sent. But it loses one response in five after the mail went out: it closes the
//! connection, or its gateway responds 504. A few connections are closed before the mail goes out. The client cannot
//! tell the two apart. Its idempotency key does not help, because the API does not know the header. A retry is a second
//! mail.
//!
//! So the client retries throttled calls, at the time that the API asks for, until the deadline. It does not retry a
//! call that may have had an effect, and reports "effect possible". Only these mails are then looked up in the API's
//! log, and sent again if they did not go out.
//!
//! The first four mails find a port that refuses. The client reports "no effect", so they are sent again without a lookup.
//!
//! The API keeps books of the mails that really went out, and of the requests that came back too early. The client's
//! results are compared with them. The program fails if one of the claims is wrong.

mod api;
mod bucket;
mod caller;
mod fate;
mod ledger;
mod report;
mod settle;

use std::error::Error as StdError;
use std::process::ExitCode;

use sevenhops::testing::ClosedPort;

use crate::api::Api;
use crate::caller::Caller;
use crate::report::{Claim, Reconciled};

type Result<T> = std::result::Result<T, Box<dyn StdError + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let Some((naive, seed)) = options(std::env::args().skip(1)) else {
        eprintln!("usage: throttled_mail [--seed N] [--naive]");
        return Ok(ExitCode::from(2));
    };
    let claims = match naive {
        true => control(seed).await?,
        false => experiment(seed).await?,
    };
    let mut all = true;
    for claim in claims {
        let verdict = if claim.holds { "holds " } else { "FAILED" };
        println!("{verdict}  {}: {}", claim.text, claim.measured);
        all &= claim.holds;
    }
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn options(mut args: impl Iterator<Item = String>) -> Option<(bool, u64)> {
    let (mut naive, mut seed) = (false, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--naive" => naive = true,
            "--seed" => seed = Some(args.next()?.parse().ok()?),
            _ => return None,
        }
    }
    // Short enough to type again.
    Some((naive, seed.unwrap_or_else(|| fastrand::u64(..1_000_000))))
}

async fn experiment(seed: u64) -> Result<Vec<Claim>> {
    println!("{MAILS} mails at once, seed {seed}: this client\n");
    let api = Api::start(seed).await?;
    let (caller, url) = (Caller::ours()?, api.url());
    let (early, closed) = (Caller::ours()?, ClosedPort::new()?);
    let refusing = format!("http://{}/v1/mails", closed.addr());
    let (mut beliefs, others) = tokio::join!(
        early.send(&refusing, 1..=REFUSED),
        caller.send(&url, REFUSED + 1..=MAILS)
    );
    beliefs.extend(others);
    let reconciled = Reconciled::new(&beliefs, api.ledger());
    report::print_counts(&api.ledger().counts());
    reconciled.print();
    if let Some(longest) = caller.longest() {
        println!("the call that was sent away most often\n\n{longest}\n");
    }
    if let Some(sentence) = report::in_doubt(&beliefs) {
        println!("one that is in doubt\n\n{sentence}\n");
    }
    let mut claims = report::claims_of_calls(&beliefs, &reconciled, api.ledger());
    report::print_rounds(&settle::settle(&caller, &url, &beliefs).await?);
    claims.extend(report::claims_in_the_end(api.ledger()));
    Ok(claims)
}

async fn control(seed: u64) -> Result<Vec<Claim>> {
    println!("{MAILS} mails at once, seed {seed}: plain reqwest, which retries every failure\n");
    let api = Api::start(seed).await?;
    let beliefs = Caller::naive()?.send(&api.url(), 1..=MAILS).await;
    report::print_counts(&api.ledger().counts());
    Reconciled::new(&beliefs, api.ledger()).print();
    Ok(report::claims_of_control(api.ledger()))
}

/// Four times what the API lets through at once.
pub(crate) const MAILS: u32 = 80;
/// The mails that find a port that refuses.
const REFUSED: u32 = 4;
