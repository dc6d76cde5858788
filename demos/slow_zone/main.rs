//! One of three zones is slow, then fails. The callers use one name for all three.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin slow_zone
//! ```
//!
//! "One availability zone has a degraded switch, so 33 % of requests take three times longer." Three servers at
//! 127.0.0.1, 2 and 3 stand behind one name and answer after 40 ms. About a hundred calls a second begin, at random
//! intervals, whether or not the earlier ones have ended. All is well at first. Then zone 3 takes 120 ms, and is well
//! again. Then it takes a third of its requests and closes the connection, and is well again until the end.
//!
//! - **ours**: this client. It sends to the address with the fewest requests in flight. It sets aside an address that
//!   is much worse than the others, and tries that one now and then. (The fewest in flight alone would leave about 18 %
//!   with the slow zone, and a third with the failing one.)
//! - **turns**: the control. Three plain reqwest clients, one for each address, take turns. They set no address aside
//!   and make no second attempt. They have servers of their own, which fail in the same way at the same time.
//!
//! Each row is a second. It shows the share of the requests that each zone got, by the servers' own count. For the
//! calls that ended in this second, it shows the median, the 99th percentile, and how many failed. A retry is another
//! request. After each trouble, zone 3 stays well until this client uses it again, for at most a minute.
//!
//! The claims on this client are checked below the table. The program fails if one of them is wrong.

mod caller;
mod claims;
mod drama;
mod world;
mod zone;

use std::error::Error as StdError;
use std::process::ExitCode;

use crate::claims::claims;
use crate::drama::{Row, Scene};
use crate::world::Second;

type BoxError = Box<dyn StdError + Send + Sync>;
type Result<T> = std::result::Result<T, BoxError>;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let rows = drama::play().await?;
    print_table(&rows);
    let mut all = true;
    for claim in claims(&rows) {
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

fn print_table(rows: &[Row]) {
    println!("{:<9}{:<37}   turns", "", "ours");
    let columns = "zone 1     2     3   p50   p99 failed";
    println!("{:<9}{columns}   {columns}", "second");
    let mut scene = Scene::Well;
    for row in rows {
        if row.scene != scene {
            scene = row.scene;
            println!("-- {}", scene.as_str());
        }
        println!(
            "{:<9}{}   {}",
            row.second,
            cells(&row.ours),
            cells(&row.turns)
        );
    }
    println!();
}

fn cells(second: &Second) -> String {
    let share = |zone| second.share(zone) * 100.0;
    format!(
        "{:>4.0} %{:>4.0} %{:>4.0} %{:>6}{:>6}{:>7}",
        share(0),
        share(1),
        share(2),
        second.percentile(50).as_millis(),
        second.percentile(99).as_millis(),
        second.failed,
    )
}
