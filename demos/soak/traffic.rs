//! The client, and the calls that go on until the traffic ends.

use std::fmt;
use std::iter::Sum;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sevenhops::{CircuitBreakerConfig, Client, Error};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::Result;
use crate::server::{ADDRESSES, STEADY, Servers};
use crate::stock::cpu_time;

/// Builds a client whose connections and circuits do not outlive a rest.
pub(crate) fn client(servers: &Servers) -> Result<Client> {
    let circuits = CircuitBreakerConfig::new()
        .break_duration(SECOND)
        .max_break_duration(2 * SECOND);
    let resolver = sevenhops::dns::Resolver::builder()
        .name_servers([servers.dns])
        .hosts_file(false)
        .build()?;
    let tls = servers.client_config()?;
    let client = Client::builder(DEADLINE)
        .config(|config| config.circuit_breaker(circuits))
        .transport(|transport| transport.resolver(resolver).tls(tls))
        .transport(|transport| {
            transport
                .idle_timeout(IDLE)
                .max_connections_per_destination(CONNECTIONS)
                .max_connections(ALL_CONNECTIONS)
        });
    Ok(client.build()?)
}

/// Builds a plain client that calls the steady name only. It shows what the machine adds to a call.
fn control(servers: &Servers) -> Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(servers.client_config()?)
        .resolve(STEADY, (ADDRESSES[0], servers.port).into())
        .pool_idle_timeout(IDLE)
        .no_proxy()
        .timeout(DEADLINE);
    Ok(client.build()?)
}

/// Calls from many tasks.
pub(crate) struct Traffic {
    callers: JoinSet<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    succeeded: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    dropped: AtomicU64,
    latencies: Mutex<Vec<Duration>>,
    control: Mutex<Vec<Duration>>,
    cpu_before: Mutex<Duration>,
}

impl Traffic {
    pub(crate) fn begin(client: &Client, servers: &Servers) -> Result<Self> {
        let control = control(servers)?;
        let shared = Arc::<Shared>::default();
        let origins: Arc<[String]> = servers.origins().into();
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let caller = Caller {
                client: client.clone(),
                control: control.clone(),
                origins: Arc::clone(&origins),
                shared: Arc::clone(&shared),
            };
            callers.spawn(caller.call_on());
        }
        Ok(Self { callers, shared })
    }

    /// Begins to count.
    pub(crate) fn count_from_here(&self) -> Result<()> {
        let cpu = cpu_time()?;
        *lock(&self.shared.cpu_before) = cpu;
        take(&self.shared.latencies);
        take(&self.shared.control);
        for count in self.shared.each() {
            count.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) fn counts(&self) -> Result<Counts> {
        let [succeeded, failed, rejected, dropped] = self
            .shared
            .each()
            .map(|count| count.load(Ordering::Relaxed));
        let before = *lock(&self.shared.cpu_before);
        Ok(Counts {
            succeeded,
            failed,
            rejected,
            dropped,
            cpu: cpu_time()? - before,
            p99: p99(take(&self.shared.latencies)),
            control_p99: p99(take(&self.shared.control)),
        })
    }

    /// Ends the traffic: no call is in flight afterwards.
    pub(crate) async fn end(self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
    }
}

impl Shared {
    fn each(&self) -> [&AtomicU64; 4] {
        [&self.succeeded, &self.failed, &self.rejected, &self.dropped]
    }
}

/// The calls of a minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// How many of those that failed were rejected by the client itself.
    pub(crate) rejected: u64,
    /// How many callers dropped the call before its end.
    pub(crate) dropped: u64,
    /// The CPU time of the process.
    pub(crate) cpu: Duration,
    /// The 99th percentile of the GETs to the steady name.
    pub(crate) p99: Duration,
    /// The same of the plain client.
    pub(crate) control_p99: Duration,
}

impl Counts {
    pub(crate) fn calls(&self) -> u64 {
        self.succeeded + self.failed + self.dropped
    }

    pub(crate) fn cpu_of_a_call(&self) -> Duration {
        self.cpu.div_f64(self.calls().max(1) as f64)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls, {} failed ({} of them rejected), {} dropped, {} µs of CPU a call, p99 {:.1} ms (plain client {:.1})",
            self.calls(),
            self.failed,
            self.rejected,
            self.dropped,
            self.cpu_of_a_call().as_micros(),
            self.p99.as_secs_f64() * 1e3,
            self.control_p99.as_secs_f64() * 1e3,
        )
    }
}

impl<'a> Sum<&'a Self> for Counts {
    fn sum<I: Iterator<Item = &'a Self>>(each: I) -> Self {
        each.fold(Self::default(), |sum, one| Self {
            succeeded: sum.succeeded + one.succeeded,
            failed: sum.failed + one.failed,
            rejected: sum.rejected + one.rejected,
            dropped: sum.dropped + one.dropped,
            cpu: sum.cpu + one.cpu,
            p99: sum.p99.max(one.p99),
            control_p99: sum.control_p99.max(one.control_p99),
        })
    }
}

/// One task that calls, waits, and calls again.
struct Caller {
    client: Client,
    control: reqwest::Client,
    origins: Arc<[String]>,
    shared: Arc<Shared>,
}

impl Caller {
    async fn call_on(self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            sleep(PAUSE.mul_f64(2.0 * fastrand::f64())).await;
            self.call().await;
        }
    }

    async fn call(&self) {
        let kind = fastrand::u8(..20);
        if kind < 5 {
            return self.timed_call(kind == 0).await;
        }
        let origin = &self.origins[fastrand::usize(..self.origins.len())];
        if kind < 7 {
            let when = LATEST_DROP.mul_f64(fastrand::f64());
            match timeout(when, self.one_of_many(origin)).await {
                Ok(ended) => self.count(ended),
                Err(_) => self.add(&self.shared.dropped),
            }
            return;
        }
        self.count(self.one_of_many(origin).await);
    }

    /// Makes a call to the steady name, by this client or by the plain one.
    async fn timed_call(&self, is_control: bool) {
        let began = Instant::now();
        let url = format!("{}/small", self.origins[0]);
        if is_control {
            let response = self.control.get(url).send().await;
            if let Ok(response) = response
                && response.bytes().await.is_ok()
            {
                lock(&self.shared.control).push(began.elapsed());
            }
            return;
        }
        let ended = self.client.get(url).fetch_bytes().await;
        if ended.is_ok() {
            lock(&self.shared.latencies).push(began.elapsed());
        }
        self.count(ended.map(|_| true));
    }

    /// Makes a call of a random kind. Returns whether its response was received to the end.
    async fn one_of_many(&self, origin: &str) -> std::result::Result<bool, Error> {
        let get = |path| self.client.get(format!("{origin}{path}"));
        let post = |path, bytes| {
            let request = self.client.post(format!("{origin}{path}"));
            request.body(vec![b'1'; bytes])
        };
        match fastrand::u8(..10) {
            0..4 => drop(get("/small").fetch_bytes().await?),
            4 | 5 => drop(post("/small", 1 << 10).fetch_bytes().await?),
            6 => drop(get("/large").fetch_bytes().await?),
            7 => drop(post("/small", 1 << 18).fetch_bytes().await?),
            8 => {
                let mut response = get("/drip")
                    .options(|options| options.streaming(true))
                    .send()
                    .await?;
                while response.chunk().await?.is_some() {}
            }
            _ => {
                // The response is dropped in its middle.
                let mut response = get("/drip")
                    .options(|options| options.streaming(true))
                    .send()
                    .await?;
                response.chunk().await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn count(&self, ended: std::result::Result<bool, Error>) {
        match ended {
            Ok(true) => self.add(&self.shared.succeeded),
            Ok(false) => self.add(&self.shared.dropped),
            Err(error) => {
                self.add(&self.shared.failed);
                if error.rejected_by().is_some() {
                    self.add(&self.shared.rejected);
                }
            }
        }
    }

    fn add(&self, count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    let at = (latencies.len() * 99).div_ceil(100).saturating_sub(1);
    latencies.get(at).copied().unwrap_or_default()
}

fn take<T: Default>(mutex: &Mutex<T>) -> T {
    std::mem::take(&mut *lock(mutex))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SECOND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(3);
const CALLERS: usize = 48;
/// Between the calls of a task, on average.
const PAUSE: Duration = Duration::from_millis(60);
/// Callers that drop their calls do so within this time: before, during or after a response of the steady name.
const LATEST_DROP: Duration = Duration::from_millis(40);
/// Fewer than the calls at a time, so that some of them wait for a connection.
pub(crate) const CONNECTIONS: usize = 8;
const ALL_CONNECTIONS: usize = 24;
