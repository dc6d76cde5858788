//! Consistency or availability: a wish list and the balance of an account during a partition.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin shared_cart
//! ```
//!
//! The shop is in New York. Seattle reads both pages every two seconds. After 20 s the link between the two drops every
//! packet, for 100 s. Meanwhile a customer in New York adds a wish and pays.
//!
//! The wish list may be up to a minute old: Seattle shows the last good one, marked with its age. The balance may not:
//! Seattle shows an error. After the window the wish list is an error, too.
//!
//! The clock is virtual. The claims are checked below; the program fails if one is wrong.

mod world;

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use sevenhops::policy::stale::Staleness;
use sevenhops::{
    CircuitBreakerConfig, Config, ConfigError, Consistency, DestinationConfig, Options,
    RetryConfig, StaleConfig, StandardLayer, StandardService,
};
use tokio::time::{Instant, sleep_until};
use tower::{Layer, ServiceExt};

use self::world::{Link, World};

/// A page as Seattle sees it.
#[derive(Debug)]
enum Seen {
    Fresh(String),
    Stale(String, Duration),
    Error(String),
}

/// A read of a page, and the page that New York showed at that moment.
struct Read {
    at: Duration,
    path: &'static str,
    seen: Seen,
    truth: String,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error + Send + Sync>> {
    let world = World::new();
    let seattle = seattle()?.layer(world.over_the_link());
    let began = Instant::now();
    let mut reads = Vec::new();
    for at in (0..END).step_by(2).map(Duration::from_secs) {
        sleep_until(began + at).await;
        match at.as_secs() {
            PARTITION => world.link(false),
            WRITE => world.shop_in_new_york("a tent", 2_500),
            HEALED => world.link(true),
            _ => {}
        }
        for path in ["/wishes", "/balance"] {
            let seen = read(&seattle, path).await?;
            let truth = world.page(path);
            reads.push(Read {
                at,
                path,
                seen,
                truth,
            });
        }
    }
    show(&reads);
    Ok(
        match claims(&reads).into_iter().filter(|claim| !claim.1).count() {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
    )
}

/// The choice is in the config: by default an error, for the wish list a response of at most a minute.
fn seattle() -> Result<StandardLayer, ConfigError> {
    let wishes = StaleConfig::new().consistency(Consistency::StaleFor(WINDOW));
    let breaker = CircuitBreakerConfig::new()
        .break_duration(Duration::from_secs(1))
        .max_break_duration(Duration::from_secs(2))
        .min_attempts(4);
    let config = Config::new(Duration::from_millis(500))
        .retry(RetryConfig::new().attempts(1))
        .circuit_breaker(breaker)
        .stale(StaleConfig::new().store_bytes(1 << 20))
        .destination("/wishes", DestinationConfig::new().stale(wishes));
    StandardLayer::from_config(&config)
}

async fn read(
    seattle: &StandardService<Link>,
    path: &'static str,
) -> Result<Seen, Box<dyn std::error::Error + Send + Sync>> {
    let mut request =
        Request::get(format!("https://shop.test{path}")).body(Full::<Bytes>::default())?;
    request.extensions_mut().insert(Options::new().route(path));
    let response = match seattle.clone().oneshot(request).await {
        Ok(response) => response,
        Err(error) => return Ok(Seen::Error(error.to_string())),
    };
    let age = response.extensions().get::<Staleness>().map(Staleness::age);
    let page = response.into_body().collect().await?.to_bytes();
    let page = String::from_utf8_lossy(&page).into_owned();
    Ok(match age {
        Some(age) => Seen::Stale(page, age),
        None => Seen::Fresh(page),
    })
}

/// Prints the first reads of each kind, and the window.
fn show(reads: &[Read]) {
    println!("time   page      Seattle sees");
    let mut before = [None, None];
    for read in reads {
        let place = usize::from(read.path == "/balance");
        let kind = std::mem::discriminant(&read.seen);
        let changed = before[place].replace(kind) != Some(kind);
        if changed || read.at.as_secs() == WRITE {
            println!("{:>3} s  {:<9} {}", read.at.as_secs(), read.path, read.seen);
        }
    }
    let ages: Vec<_> = reads.iter().filter_map(Read::age).collect();
    let mean = ages.iter().sum::<Duration>() / u32::try_from(ages.len().max(1)).unwrap_or(1);
    let most = ages.iter().max().copied().unwrap_or_default();
    println!(
        "the window of inconsistency: {} stale reads, {mean:.1?} old on average, {most:.1?} at most",
        ages.len()
    );
}

/// Checks and prints the claims.
fn claims(reads: &[Read]) -> Vec<(&'static str, bool)> {
    let during = |read: &&Read| (PARTITION..HEALED).contains(&read.at.as_secs());
    let of = |path: &'static str| reads.iter().filter(move |read| read.path == path);
    let within = |read: &&Read| read.at < Duration::from_secs(PARTITION - 2) + WINDOW;
    let settled = |read: &&Read| read.at.as_secs() >= HEALED + SETTLED;
    let claims = vec![
        (
            "every wish list within the window was shown, marked with its age",
            of("/wishes")
                .filter(during)
                .filter(within)
                .all(|read| read.age().is_some()),
        ),
        (
            "no stale page is older than a minute",
            reads.iter().filter_map(Read::age).all(|age| age <= WINDOW),
        ),
        (
            "after the window the wish list is an error",
            of("/wishes")
                .filter(during)
                .filter(|read| !within(read))
                .all(|read| matches!(read.seen, Seen::Error(_))),
        ),
        (
            "each balance during the partition is an error",
            of("/balance")
                .filter(during)
                .all(|read| matches!(read.seen, Seen::Error(_))),
        ),
        (
            "no page without a mark differs from New York's",
            reads
                .iter()
                .all(|read| !matches!(&read.seen, Seen::Fresh(page) if *page != read.truth)),
        ),
        (
            "one stale wish list at least did differ: that is the price",
            of("/wishes")
                .any(|read| matches!(&read.seen, Seen::Stale(page, _) if *page != read.truth)),
        ),
        (
            "after the partition both pages are New York's again",
            reads
                .iter()
                .filter(settled)
                .all(|read| matches!(read.seen, Seen::Fresh(_))),
        ),
    ];
    for (claim, holds) in &claims {
        println!("claim: {claim}: {}", if *holds { "yes" } else { "NO" });
    }
    claims
}

impl Read {
    fn age(&self) -> Option<Duration> {
        match self.seen {
            Seen::Stale(_, age) => Some(age),
            Seen::Fresh(_) | Seen::Error(_) => None,
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fresh(page) => f.write_str(page),
            Self::Stale(page, age) => write!(f, "{page} (as of {:.1} s ago)", age.as_secs_f64()),
            Self::Error(error) => write!(f, "error: {error}"),
        }
    }
}

/// The greatest age of a wish list.
const WINDOW: Duration = Duration::from_secs(60);
/// In seconds: the link drops packets, New York shops, the link is back, the last read.
const PARTITION: u64 = 20;
const WRITE: u64 = 40;
const HEALED: u64 = 120;
const END: u64 = 140;
/// An open circuit notices the link after its open time.
const SETTLED: u64 = 6;
