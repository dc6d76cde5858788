//! A page that asks six services one after another, and shows its staircase.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin staircase
//! ```
//!
//! Each line of the page's code is one call, and each call is fast. One call alone does not show the staircase. A
//! visitor asks a small hyper server for a page. The server asks six services over TLS through one client. Each service
//! is 20 ms away and works for 40 to 80 ms. They are asked in turn, then all at once. Both are done with a new client
//! first, where every step pays for its lookup, its connection and its handshake. Then both are done with open
//! connections.
//!
//! The visitor says how long it waits (`Sevenhops-Timeout-Ms`), and the page's calls inherit it. Even if the page's own
//! client would allow more, no call has more time than the visitor has left. The last visitor has less than the
//! staircase takes.
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
