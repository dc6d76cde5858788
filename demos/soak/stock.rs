//! Takes stock: what a process holds while it has nothing to do.

use std::fmt;
use std::fs;
use std::time::Duration;

use sevenhops::policy::breaker::CircuitState;
use sevenhops::{Client, Destination};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Result;
use crate::server::Servers;
use crate::traffic::CONNECTIONS;

/// The resources of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    pub(crate) tasks: usize,
    pub(crate) descriptors: usize,
    pub(crate) resident_kib: u64,
}

impl Footprint {
    pub(crate) fn now() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|line| line.split_whitespace().next());
        Ok(Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            resident_kib: resident.ok_or("no VmRSS")?.parse()?,
        })
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resident = self.resident_kib as f64 / 1024.0;
        write!(
            f,
            "{:>8}{:>13}{resident:>8.1} MiB",
            self.tasks, self.descriptors
        )
    }
}

/// The state that a client keeps for a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) destination: Destination,
    pub(crate) circuit: CircuitState,
    /// How many retries its budget affords.
    pub(crate) retries: Option<i64>,
    /// Whether as many calls as it may have connections were in flight at once.
    pub(crate) has_all_permits: bool,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retries = self.retries.unwrap_or_default();
        write!(
            f,
            "{:<36}{:>10}{retries:>20}",
            self.destination.to_string(),
            self.circuit.as_str()
        )
    }
}

/// Everything that may be left behind.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    pub(crate) footprint: Footprint,
    pub(crate) accounts: Vec<Account>,
}

impl Stock {
    /// Lets the client rest, and takes stock.
    pub(crate) async fn take(client: &Client, servers: &Servers) -> Result<Self> {
        let mut accounts = Vec::new();
        sleep(REST).await;
        for origin in servers.origins() {
            let has_all_permits = has_all_permits(client, &origin).await;
            accounts.push((origin.parse::<Destination>()?, has_all_permits));
        }
        sleep(REST).await;
        let account = |(destination, has_all_permits): (Destination, bool)| Account {
            circuit: client.breaker_handle().state(&destination),
            retries: client.budgets().left(&destination),
            destination,
            has_all_permits,
        };
        Ok(Self {
            footprint: Footprint::now()?,
            accounts: accounts.into_iter().map(account).collect(),
        })
    }
}

/// Returns whether the server can have as many calls at once as there may be connections. A circuit that was open lets
/// all calls through only after a while. A lost permit stays lost.
async fn has_all_permits(client: &Client, origin: &str) -> bool {
    for _ in 0..ROUNDS {
        let round: u64 = fastrand::u64(..);
        let url = format!("{origin}/hold/{round}/{CONNECTIONS}");
        let mut calls = JoinSet::new();
        for _ in 0..CONNECTIONS {
            calls.spawn(
                client
                    .get(&url)
                    .options(|options| options.retry(false))
                    .fetch_bytes(),
            );
        }
        let ended = calls.join_all().await;
        if ended.iter().all(|ended| ended.is_ok()) {
            return true;
        }
        sleep(REST / 10).await;
    }
    false
}

/// Returns the CPU time of this process so far.
pub(crate) fn cpu_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the name in brackets, which may have spaces. User time is the 14th, system time the 15th.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks = times
        .map(str::parse::<u64>)
        .sum::<std::result::Result<u64, _>>()?;
    Ok(Duration::from_millis(10) * u32::try_from(ticks)?)
}

/// Longer than the idle timeout of connections, and than the window of the budget.
const REST: Duration = Duration::from_secs(12);
const ROUNDS: usize = 10;
