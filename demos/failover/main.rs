//! A name moves from one server to another. The demo shows when this client notices it, and when plain reqwest does.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin failover
//! ```
//!
//! Twenty-five requests a second begin, whether or not the earlier ones have ended. They go over kept-alive connections
//! to a name whose TTL is 2 s. The *old* server is 127.0.0.1, the *new* one 127.0.0.2.
//!
//! - **Phase 1**: the record moves from the old server to the new one, and the old one still responds. Nothing fails,
//!   so only the TTL can tell a client that the server was replaced.
//! - **Phase 2**: the record moves back, and in the same instant the server that is left goes dark. Its port refuses
//!   connections or drops packets, or the server takes requests and never responds. An address that was looked up just
//!   before is wrong for two more seconds.
//!
//! All of this runs over plain HTTP/1.1, over HTTP/1.1 in TLS and over HTTP/2 in TLS at once. Each has its own servers,
//! name and client. For each second, the tables count the requests that arrived at each server. They also count the
//! calls that began in this second and failed.
//!
//! Both clients look names up in the same name server and honor the TTL when they look. Both have 5 s for a call. With
//! its defaults, reqwest makes no second attempt. A new reqwest client is created between the phases, as by a
//! deployment. The first one never leaves the old server, so it would not notice that the new server goes dark.
//!
//! The claims on this client are checked below the tables. The program fails if one of them is wrong.

mod caller;
mod claims;
mod ledger;
mod report;
mod stage;

use std::error::Error as StdError;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::caller::Who;
use crate::claims::claims;
use crate::stage::{Case, Dark, Mode, Net, Report};

type BoxError = Box<dyn StdError + Send + Sync>;
type Result<T> = std::result::Result<T, BoxError>;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let reports = run_all().await?;
    report::print(&reports);
    let mut all = true;
    for claim in claims(&reports) {
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

/// Makes all runs at the same time. Returns them in the order of the tables.
async fn run_all() -> Result<Vec<Report>> {
    let net = Arc::new(Net::new().await?);
    let mut runs = JoinSet::new();
    for mode in Mode::ALL {
        for dark in Dark::ALL {
            for who in Who::ALL {
                runs.spawn(stage::run(Case { mode, dark, who }, Arc::clone(&net)));
            }
        }
    }
    let mut reports = runs
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    reports.sort_by_key(|report| report.case);
    Ok(reports)
}
