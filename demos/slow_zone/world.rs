//! Three zones behind a name, and traffic to it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sevenhops::testing::{DnsScript, ScriptedDns};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::Result;
use crate::caller::Caller;
use crate::zone::{State, Zone, address};

/// Three zones, and traffic that continues until this is dropped.
pub(crate) struct World {
    zones: Vec<Zone>,
    ended: Arc<Mutex<Ended>>,
    traffic: JoinHandle<()>,
}

/// The calls that ended since the last look.
#[derive(Default)]
struct Ended {
    took: Vec<Duration>,
    failed: usize,
}

/// The events of a second.
#[derive(Clone, Debug)]
pub(crate) struct Second {
    /// How many requests each zone got.
    pub(crate) requests: Vec<usize>,
    /// The times of the successful calls, sorted.
    took: Vec<Duration>,
    pub(crate) failed: usize,
}

impl World {
    pub(crate) async fn ours(dns: &ScriptedDns) -> Result<Self> {
        let zones = zones().await?;
        let addresses = [1, 2, 3].map(address);
        dns.set(NAME, DnsScript::addresses(addresses).ttl(60));
        Ok(Self::begin(zones, Caller::ours(dns)?))
    }

    pub(crate) async fn turns() -> Result<Self> {
        let zones = zones().await?;
        let addresses: Vec<SocketAddr> = zones.iter().map(Zone::address).collect();
        Ok(Self::begin(zones, Caller::turns(NAME, &addresses)?))
    }

    fn begin(zones: Vec<Zone>, caller: Caller) -> Self {
        let port = zones.first().map_or(0, |zone| zone.address().port());
        let url = format!("http://{NAME}:{port}/v1/charges");
        let ended = Arc::default();
        Self {
            traffic: tokio::spawn(traffic(caller, url, Arc::clone(&ended))),
            zones,
            ended,
        }
    }

    /// Changes zone 3 from now on.
    pub(crate) fn turn(&self, state: State) {
        self.zones.last().inspect(|zone| zone.turn(state));
    }

    /// Returns the events since the last call of this function.
    pub(crate) fn second(&self) -> Second {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let Ended { mut took, failed } = std::mem::take(&mut *ended);
        drop(ended);
        took.sort_unstable();
        Second {
            requests: self.zones.iter().map(Zone::requests).collect(),
            took,
            failed,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.traffic.abort();
    }
}

impl Second {
    pub(crate) fn share(&self, zone: usize) -> f64 {
        let all: usize = self.requests.iter().sum();
        let there = self.requests.get(zone).copied().unwrap_or_default();
        there as f64 / all.max(1) as f64
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let at = (self.took.len() * percent).div_ceil(100).saturating_sub(1);
        self.took.get(at).copied().unwrap_or_default()
    }
}

/// Starts the three zones, on one port.
async fn zones() -> Result<Vec<Zone>> {
    let first = Zone::start(1, 0).await?;
    let port = first.address().port();
    Ok(vec![
        first,
        Zone::start(2, port).await?,
        Zone::start(3, port).await?,
    ])
}

async fn traffic(caller: Caller, url: String, ended: Arc<Mutex<Ended>>) {
    let mut next = Instant::now();
    loop {
        // Independent callers make calls at such intervals.
        next += EVERY.mul_f64(-(1.0 - fastrand::f64()).ln());
        sleep_until(next).await;
        let (caller, url, ended) = (caller.clone(), url.clone(), Arc::clone(&ended));
        tokio::spawn(async move {
            let begun = Instant::now();
            let called = caller.call(&url).await;
            let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            match called {
                Ok(()) => ended.took.push(begun.elapsed()),
                Err(_) => ended.failed += 1,
            }
        });
    }
}

const NAME: &str = "zones.test";
/// A hundred a second, on average.
const EVERY: Duration = Duration::from_millis(10);
