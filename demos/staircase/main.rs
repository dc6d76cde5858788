//! A page that asks six services one after another, and shows its staircase.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin staircase
//! ```
//!
//! Each line of the page's code is one call, and each call is fast. One call alone does not show the staircase. A
//! visitor asks a small hyper server for a page; that asks six services over TLS through one client, each 20 ms away,
//! each with 40 to 80 ms of work. They are asked in turn, then all at once; each with a client that was just made
//! (every step pays for its name, its connection and its handshake), and once more with connections that are there
//! already.
//!
//! The visitor says how long it waits (`Sevenhops-Timeout-Ms`), and the page's calls inherit it: whatever its
//! own client would allow them, none has more time than its visitor has left. The last visitor has less than
//! the staircase takes.
//!
//! The claims are measured in the same run, and checked below. The program fails if one of them is wrong.

mod claims;
mod draw;
mod page;
mod run;
mod service;

use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::Duration;

use crate::claims::{Pair, claims};
use crate::run::{PATIENCE, World};

type Result<T> = std::result::Result<T, Box<dyn StdError + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let world = World::new().await?;
    let (mut one, mut other) = (world.deploy().await?, world.deploy().await?);
    let cold = Pair {
        in_turn: world.visit(&mut one, false, PATIENCE).await?,
        at_once: world.visit(&mut other, true, PATIENCE).await?,
    };
    let warm = Pair {
        in_turn: world.visit(&mut one, false, PATIENCE).await?,
        at_once: world.visit(&mut other, true, PATIENCE).await?,
    };
    let cut = world.visit(&mut one, false, SHORT).await?;

    let scale = cold.in_turn.took;
    draw::print_legend();
    draw::print("in turn, cold", &cold.in_turn, scale);
    draw::print("in turn, warm", &warm.in_turn, scale);
    draw::print("at once, cold", &cold.at_once, scale);
    draw::print("at once, warm", &warm.at_once, scale);
    draw::print("in turn, warm, for a visitor in a hurry", &cut, scale);
    if let Some(failure) = &cut.failure {
        println!("{failure}\n");
    }
    if let Some(step) = cold.in_turn.steps.first() {
        println!("the first step, cold\n\n{}\n", step.timeline);
    }
    let mut all = true;
    for claim in claims(&cold, &warm, &cut) {
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

/// About half of what the staircase takes.
const SHORT: Duration = Duration::from_millis(200);
