//! How much of a deadline retries use, for deadlines from 10 ms to a minute.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin short_deadlines
//! ```
//!
//! The clock and the service are virtual. The first attempt of each call hangs, fails at once, or gets its response
//! after a share of the deadline. All later attempts get it after that share. The breaker is off, the budget unlimited.
//!
//! Each cell shows how many of a thousand calls were saved. Beside it stands the number for an earlier version of the
//! crate, and for two other retriers. These know when the second attempt would get its response, and never wait. The
//! "ideal" has the same attempt timeouts; the "oracle" never cuts the second attempt. The last column is the share of
//! the deadline that a saved call used.
//!
//! Two claims are checked below, and the program fails if one is wrong. No cell is below 0.95 of the ideal. No cell is
//! worse than in the earlier version, with one exception. If the first attempt hangs and a later one needs more than a
//! quarter of the deadline, fewer calls are saved. That is the price of a third attempt.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use sevenhops::{CircuitBreakerConfig, Config, RetryConfig, StandardLayer, policy::retry};

use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

/// The fate of the first attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Hangs,
    Fails,
    IsAnswered,
}

/// One kind of service under one deadline.
struct Cell {
    deadline: Duration,
    first: First,
    /// How long an attempt that gets its response takes.
    takes: Duration,
}

struct Outcome {
    /// In calls of a thousand.
    saved: u32,
    /// The share of the deadline that a saved call used.
    used: f64,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<ExitCode, sevenhops::ConfigError> {
    println!("deadline  first attempt  answered in   saved  earlier  ideal  oracle   time used");
    let (mut wrong, mut worse) = (0, 0);
    for deadline in DEADLINES.map(Duration::from_millis) {
        for first in [First::Hangs, First::Fails, First::IsAnswered] {
            for takes in shares(deadline) {
                let cell = Cell {
                    deadline,
                    first,
                    takes,
                };
                let outcome = cell.play().await?;
                let (ideal, oracle) = (cell.ideal(), cell.oracle());
                let earlier = cell.earlier();
                let is_below = f64::from(outcome.saved) < SHARE * f64::from(ideal);
                let is_worse = outcome.saved + CHANCE < earlier && !cell.pays_for_a_third();
                wrong += u32::from(is_below);
                worse += u32::from(is_worse);
                println!(
                    "{deadline:>8?}  {first:<13}  {takes:>11?}   {:>5}  {earlier:>7}  {ideal:>5}  {oracle:>6}   {:>8.0} %{}",
                    outcome.saved,
                    outcome.used * 100.0,
                    if is_below || is_worse { "   WRONG" } else { "" },
                    first = format!("{first:?}"),
                );
            }
        }
    }
    println!("claim: no cell below {SHARE} of the ideal: {wrong} cells are");
    println!("claim: no cell worse than earlier: {worse} cells are");
    Ok(match wrong + worse {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// A millisecond, and a tenth to nine tenths of the deadline.
fn shares(deadline: Duration) -> Vec<Duration> {
    let mut shares = vec![Duration::from_millis(1)];
    shares.extend((1..=9).map(|tenths| deadline * tenths / 10));
    shares.dedup();
    shares
}

impl Cell {
    async fn play(&self) -> Result<Outcome, sevenhops::ConfigError> {
        let retry = RetryConfig::new().budget(retry::Budget::unlimited());
        let off = CircuitBreakerConfig::new().min_attempts(u32::MAX);
        let settings = Config::new(self.deadline).retry(retry).circuit_breaker(off);
        let layer = StandardLayer::from_config(&settings)?;
        let (mut saved, mut used) = (0, Duration::ZERO);
        for _ in 0..CALLS {
            let (begun, attempts) = (Instant::now(), Arc::new(AtomicU32::new(0)));
            let (first, takes) = (self.first, self.takes);
            let service = service_fn(move |_: Request<Full<Bytes>>| {
                let is_first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
                async move { answer(first, is_first, takes).await }
            });
            let get = Request::get("http://api.test/").body(Full::default());
            let Ok(get) = get else { continue };
            let ended = layer.layer(service).oneshot(get).await;
            if ended.is_ok_and(|response| response.status() == 200) {
                saved += 1;
                used += begun.elapsed();
            }
        }
        let used = used.as_secs_f64() / f64::from(saved.max(1)) / self.deadline.as_secs_f64();
        Ok(Outcome {
            saved: saved * ALL / CALLS,
            used,
        })
    }

    /// The calls that the earlier version saved.
    fn earlier(&self) -> u32 {
        let cell = format!("{:?} {:?} {:?} ", self.deadline, self.first, self.takes);
        EARLIER
            .lines()
            .find_map(|line| line.strip_prefix(&cell)?.parse().ok())
            .expect("a row for each cell")
    }

    /// Whether a third attempt takes the time that the second one needed.
    fn pays_for_a_third(&self) -> bool {
        self.first == First::Hangs && self.takes > self.deadline / 4
    }

    /// The calls that a retrier saves with the same attempt timeouts and without waits.
    fn ideal(&self) -> u32 {
        let mut left = self.deadline;
        for attempt in 1..=ATTEMPTS {
            let timeout = match attempt {
                ATTEMPTS => left,
                _ => left / 2,
            };
            let is_answered = attempt > 1 || self.first == First::IsAnswered;
            if is_answered && self.takes < timeout {
                return ALL;
            }
            match attempt == 1 && self.first == First::Fails {
                true => {}
                false => left = left.saturating_sub(timeout),
            }
        }
        0
    }

    /// The calls that a retrier saves that cuts the first attempt as we do, and no other.
    fn oracle(&self) -> u32 {
        let left = match self.first {
            First::Hangs => self.deadline / 2,
            First::Fails | First::IsAnswered => self.deadline,
        };
        match self.takes < left {
            true => ALL,
            false => 0,
        }
    }
}

async fn answer(
    first: First,
    is_first: bool,
    takes: Duration,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = match (is_first, first) {
        (true, First::Hangs) => std::future::pending().await,
        (true, First::Fails) => 503,
        (true, First::IsAnswered) | (false, _) => {
            sleep(takes).await;
            200
        }
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}

/// In milliseconds.
const DEADLINES: [u64; 9] = [10, 20, 50, 100, 300, 1_000, 3_000, 10_000, 60_000];
/// In each cell.
const CALLS: u32 = 400;
/// Figures are in calls of a thousand.
const ALL: u32 = 1_000;
/// The difference that chance may make in a thousand calls: the earlier version drew its waits, too.
const CHANCE: u32 = 60;
const EARLIER: &str = include_str!("earlier.txt");
/// The default.
const ATTEMPTS: u32 = 3;
const SHARE: f64 = 0.95;
