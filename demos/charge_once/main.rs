//! A thousand charges over bad sockets, and no customer pays twice.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin charge_once                      # the service honors idempotency keys
//! cargo run -p sevenhops-demos --bin charge_once -- --keyless-server  # it ignores them, and the client knows
//! cargo run -p sevenhops-demos --bin charge_once -- --gateway         # a gateway sends a charge twice if its connection breaks
//! cargo run -p sevenhops-demos --bin charge_once -- --naive           # the control: plain reqwest, blind retries
//! cargo run -p sevenhops-demos --bin charge_once -- --seed 7          # the same luck again
//! ```
//!
//! A payments service in this program makes the charges and keeps the books. It resets connections, is not there for a
//! moment, responds 503, keeps silent, or takes longer than its client waits. In one case of five it does the work and
//! loses the response. The client cannot tell this from a request that was never processed. A client that simply tries
//! again charges twice: with `--naive` this happens hundreds of times.
//!
//! If the service honors keys, the client retries until it has its response, and gets the charge that was made already.
//! If not, the client does not retry a failure that may have had an effect. It reports "effect possible". In both modes
//! the program compares the client's results with the books. A success is a charge, "no effect" and "effect declined"
//! are not. No order is charged twice.
//!
//! With `--gateway`, a gateway stands between the two. If its connection to the service breaks, it sends the charge a
//! second time. The service refuses a second charge of an order with 409, 400 or 403. The client gets this refusal
//! although the charge was made. The client never reports "no effect" then: a 409 is "effect possible", a 400 or 403
//! "effect declined". "Declined" is a claim of the party that responded, not a proof.
//!
//! One card in twenty-five is always declined. The client then reports "effect declined", unless an earlier attempt of
//! the same call had no response. The 402 does not undo the effect of that attempt.

mod fate;
mod gateway;
mod ledger;
mod load;
mod report;
mod server;

use std::error::Error as StdError;
use std::process::ExitCode;

use crate::gateway::Gateway;
use crate::ledger::Repeats;
use crate::load::{CHARGES, Caller};
use crate::report::{Claim, Reconciled};
use crate::server::Server;

type Result<T> = std::result::Result<T, Box<dyn StdError + Send + Sync>>;

/// The client, and the service that it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Keyed,
    Keyless,
    Gateway,
    Naive,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Keyed => "the service honors idempotency keys, and the client knows",
            Self::Keyless => "the service ignores idempotency keys, and the client knows",
            Self::Gateway => "a gateway sends a charge again if its connection breaks",
            Self::Naive => "the service ignores keys, and plain reqwest retries every failure",
        }
    }

    fn repeats(self) -> Repeats {
        match self {
            Self::Keyed => Repeats::Keyed,
            Self::Gateway => Repeats::Refused,
            Self::Keyless | Self::Naive => Repeats::Charged,
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match options(std::env::args().skip(1)) {
        Some((mode, seed)) => experiment(mode, seed).await,
        None => {
            eprintln!("usage: charge_once [--seed N] [--keyless-server | --gateway | --naive]");
            Ok(ExitCode::from(2))
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Option<(Mode, u64)> {
    let (mut mode, mut seed) = (None, None);
    while let Some(arg) = args.next() {
        let taken = match arg.as_str() {
            "--keyless-server" => mode.replace(Mode::Keyless).is_some(),
            "--gateway" => mode.replace(Mode::Gateway).is_some(),
            "--naive" => mode.replace(Mode::Naive).is_some(),
            "--seed" => seed.replace(args.next()?.parse().ok()?).is_some(),
            _ => true,
        };
        if taken {
            return None;
        }
    }
    // Short enough to type again.
    let luck = || fastrand::u64(..1_000_000);
    Some((mode.unwrap_or(Mode::Keyed), seed.unwrap_or_else(luck)))
}

async fn experiment(mode: Mode, seed: u64) -> Result<ExitCode> {
    println!("{CHARGES} charges, seed {seed}: {}\n", mode.as_str());
    let server = Server::start(seed, mode.repeats())?;
    let gateway = match mode {
        Mode::Gateway => Some(Gateway::start(server.address()).await?),
        Mode::Keyed | Mode::Keyless | Mode::Naive => None,
    };
    let origin = gateway
        .as_ref()
        .map_or_else(|| server.origin(), Gateway::origin);
    let caller = match mode {
        Mode::Keyed => Caller::ours(Some(&origin))?,
        Mode::Keyless | Mode::Gateway => Caller::ours(None)?,
        Mode::Naive => Caller::naive()?,
    };
    let beliefs = load::run(&caller, &origin).await?;
    let misuse = match &caller {
        Caller::Ours(client) if mode == Mode::Keyed => {
            let refused = load::reuse_key(client, &origin).await?;
            Some(Claim::new(
                "a key used for another amount is refused",
                refused,
            ))
        }
        Caller::Ours(_) | Caller::Naive(_) => None,
    };
    // The client's connections end with it. Only after that, nothing more can be charged.
    drop(caller);
    if let Some(gateway) = gateway {
        report::print_gateway(&*gateway.close().await?);
    }
    let ledger = server.close().await?;

    let reconciled = Reconciled::new(&beliefs, &ledger);
    report::print(&beliefs, &reconciled, &ledger);
    let mut all = true;
    let claims = report::claims(mode, &reconciled, &ledger);
    for claim in claims.into_iter().chain(misuse) {
        let verdict = if claim.holds { "holds " } else { "FAILED" };
        println!("{verdict}  {}", claim.text);
        all &= claim.holds;
    }
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
