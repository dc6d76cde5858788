//! A rate limit that processes share over Redis.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, RedisResult, Script};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock;
use crate::config_error::ConfigError;
use crate::policy::rate_limit::{RateLimitStore, SlotDecision, SlotRequest, StoreFuture};

/// Keeps the buckets of a [`SharedRateLimit`](crate::policy::rate_limit::SharedRateLimit) in a Redis, from version 5 on,
/// or in a Valkey.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::policy::rate_limit::{SharedRateLimit, SharedRateLimitConfig};
/// use sevenhops::redis::RedisStore;
/// use sevenhops::{Client, RateLimitConfig};
///
/// // The provider allows 100 requests a second for the whole account. At most 20 processes use it.
/// let store = RedisStore::new("redis://127.0.0.1/")?.prefix("billing:rate:");
/// let limit = SharedRateLimit::new(store, SharedRateLimitConfig::new(20))?;
/// let client = Client::builder(Duration::from_secs(10))
///     .config(|config| config.rate_limit(RateLimitConfig::new(100)))
///     .share_rate_limit(&limit)
///     .build()?;
/// # drop(client); Ok::<(), sevenhops::ConfigError>(())
/// ```
///
/// # One script for each slot
///
/// GCRA runs in one script, so a slot costs one round trip. It reads the clock of the Redis server: those of the machines
/// may differ. A bucket is one key with one number, and expires when it is full again. All processes with the same
/// prefix share the bucket of a destination, so two services with quotas of their own need two prefixes.
///
/// The key is a hash of the destination's name: nothing that the name contains stands in Redis. A name that can be
/// guessed can be recognized by its hash.
///
/// # Defaults
///
/// The prefix is `sevenhops:rate:`. There is one connection, which is made at the first slot and shared by all calls.
/// How long a call waits for Redis is a part of
/// [`SharedRateLimitConfig`](crate::policy::rate_limit::SharedRateLimitConfig), and so are the rates while it is away.
///
/// # Trade-offs
///
/// - The time between two slots is rounded up to a microsecond, so no bucket grants more than a million a second.
/// - If Redis loses its data, or a replica takes over that is behind, each bucket is full again: there is one burst more.
///   If the clock of the server is set back, calls wait that much longer, or are rejected.
/// - `rediss://` needs TLS, which this crate does not enable: use the feature `tokio-rustls-comp` of the crate `redis`.
///   Redis Cluster is not supported.
///
/// # How people get it wrong
///
/// - A Redis in another region: each attempt waits for the round trip.
/// - A Redis with an eviction policy such as `allkeys-lru`, and too little memory: an evicted bucket is full again.
pub struct RedisStore {
    shared: Arc<Connections>,
    script: Script,
    prefix: Box<str>,
}

/// The one connection of a store, and the way to make it.
struct Connections {
    client: Client,
    config: AsyncConnectionConfig,
    kept: Mutex<Kept>,
    /// Held while the connection is made, so that other calls wait for that one.
    connecting: tokio::sync::Mutex<()>,
}

/// The connection of a store, and how many there were before it.
#[derive(Default)]
struct Kept {
    connection: Option<MultiplexedConnection>,
    number: u64,
}

impl RedisStore {
    /// Creates a store for a URL such as `redis://user:password@host:6379/0`. It connects at the first slot.
    ///
    /// # Errors
    ///
    /// Fails if the URL cannot be read. The error does not contain it, because it may contain a password.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let client = Client::open(url).map_err(|error| {
            // The details may contain parts of the URL.
            let kind = error.category().to_owned();
            let why = format_args!("it cannot be used ({kind}): expected redis://host:6379/0");
            ConfigError::refused("redis.url", why)
        })?;
        let config = AsyncConnectionConfig::new();
        // Calls bound the time of each response, and of the connect.
        let config = config.set_response_timeout(None);
        Ok(Self {
            shared: Arc::new(Connections {
                client,
                config: config.set_connection_timeout(Some(LONGEST_CONNECT)),
                kept: Mutex::default(),
                connecting: tokio::sync::Mutex::default(),
            }),
            script: Script::new(GCRA),
            prefix: PREFIX.into(),
        })
    }

    /// Sets the beginning of the names of all keys.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Reserves a slot. If the kept connection turns out to be closed, another one is made at once. The script may then
    /// run twice, and one slot is lost.
    async fn slot(&self, request: &SlotRequest) -> RedisResult<Response> {
        let (lease, is_new) = self.lease().await?;
        match self.run(lease, request).await {
            Err(error) if !is_new && error.is_io_error() => {
                let (lease, _) = self.lease().await?;
                self.run(lease, request).await
            }
            ended => ended,
        }
    }

    async fn run(&self, mut lease: Lease<'_>, request: &SlotRequest) -> RedisResult<Response> {
        let mut script = self.script.key(self.key(request));
        for number in arguments(request) {
            script.arg(number);
        }
        let ended = script.invoke_async(&mut lease.connection).await;
        // An error may mean that this server is no longer the right one, for example a replica after a failover.
        lease.has_ended = true;
        lease.is_usable = ended.is_ok();
        ended
    }

    fn key(&self, request: &SlotRequest) -> String {
        let name = request.destination().as_str();
        let hash = Uuid::new_v5(&NAMESPACE, name.as_bytes());
        format!("{}{}", self.prefix, hash.simple())
    }

    /// Returns the connection, and whether it is new. A task makes it: a call that is no longer polled would otherwise
    /// stop all others.
    async fn lease(&self) -> RedisResult<(Lease<'_>, bool)> {
        if let Some(lease) = self.shared.known() {
            return Ok((lease, false));
        }
        let making = tokio::spawn(Connections::make(Arc::clone(&self.shared)));
        making.await.map_err(io::Error::other)??;
        match self.shared.known() {
            Some(lease) => Ok((lease, true)),
            None => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        }
    }
}

impl Connections {
    /// Makes the connection, unless there is one.
    async fn make(shared: Arc<Self>) -> RedisResult<()> {
        let _turn = shared.connecting.lock().await;
        if shared.kept().connection.is_some() {
            return Ok(());
        }
        let connecting = shared
            .client
            .get_multiplexed_async_connection_with_config(&shared.config);
        let connection = connecting.await?;
        let mut kept = shared.kept();
        kept.number += 1;
        kept.connection = Some(connection);
        Ok(())
    }

    fn known(&self) -> Option<Lease<'_>> {
        let kept = self.kept();
        Some(Lease {
            shared: self,
            connection: kept.connection.clone()?,
            number: kept.number,
            since: clock::now(),
            has_ended: false,
            is_usable: false,
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RateLimitStore for RedisStore {
    fn reserve<'a>(&'a self, request: &'a SlotRequest) -> StoreFuture<'a> {
        Box::pin(async move { Ok(decision(self.slot(request).await?)?) })
    }
}

impl fmt::Debug for RedisStore {
    /// Leaves out the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// A use of the connection. After an error, or a long time without a response, the connection is not used again. Redis may
/// be gone without a trace, and then each further call would wait for its timeout. A call that is dropped early says
/// nothing about the connection.
struct Lease<'s> {
    shared: &'s Connections,
    connection: MultiplexedConnection,
    number: u64,
    since: Instant,
    /// Whether there was a response or an error.
    has_ended: bool,
    is_usable: bool,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let is_silent = || self.since.elapsed() >= SILENT;
        let mut kept = self.shared.kept();
        if !self.is_usable && (self.has_ended || is_silent()) && kept.number == self.number {
            kept.connection = None;
        }
    }
}

/// The response of the script: whether a slot is reserved, and the wait in microseconds.
type Response = (i64, i64);

/// Returns the numbers of the script: the interval, the tolerance and the longest wait, in microseconds.
fn arguments(request: &SlotRequest) -> [u64; 3] {
    let interval = micros_up(request.interval()).max(1);
    let tolerance = interval.saturating_mul(u64::from(request.burst().max(1) - 1));
    let longest = u64::try_from(request.longest().as_micros()).unwrap_or(u64::MAX);
    [interval, tolerance, longest].map(|micros| micros.min(LARGEST))
}

/// Rounds up, so that a bucket never grants more than its rate.
fn micros_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn decision((granted, micros): Response) -> Result<SlotDecision, MalformedReply> {
    let wait = u64::try_from(micros).map(Duration::from_micros);
    match (granted, wait) {
        (1, Ok(wait)) => Ok(SlotDecision::Granted { wait }),
        (0, Ok(wait)) => Ok(SlotDecision::Refused { wait }),
        _ => Err(MalformedReply),
    }
}

/// The script responded with numbers that mean nothing.
#[derive(Debug)]
struct MalformedReply;

impl fmt::Display for MalformedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response of Redis is not one of the script's")
    }
}

impl Error for MalformedReply {}

/// It reads the clock. From version 5 on, Redis replicates its effects and not the script, so it may do that.
const GCRA: &str = include_str!("gcra.lua");

const PREFIX: &str = "sevenhops:rate:";
/// Of no other use of UUIDs. It must not change: processes of different versions share a bucket.
const NAMESPACE: Uuid = Uuid::from_u128(0x2d2f_9a43_6c1b_4b0e_9f57_7a0c_41d8_e6b2);
/// Lua's numbers are exact up to here. As a time it is 142 years.
const LARGEST: u64 = 1 << 52;
/// Several round trips within a data center. A connection without a response for that long may be dead.
const SILENT: Duration = Duration::from_millis(5);
/// A call waits for less. This ends a connect after its call.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(MalformedReply: super::MalformedReply);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Destination;

    fn request(interval: Duration, burst: u32, longest: Duration) -> SlotRequest {
        SlotRequest::new(Destination::named("api"), interval, burst, longest)
    }

    #[test]
    fn numbers_of_the_script_are_microseconds_and_never_too_generous() {
        let (nanos, micros) = (Duration::from_nanos, Duration::from_micros);
        for (interval, burst, longest, expected) in [
            (micros(100), 10, micros(5), [100, 900, 5]),
            (nanos(1), 1, nanos(999), [1, 0, 0]),
            (nanos(100_001), 3, nanos(1_999), [101, 202, 1]),
            (Duration::MAX, u32::MAX, Duration::MAX, [LARGEST; 3]),
        ] {
            let request = request(interval, burst, longest);
            assert_eq!(arguments(&request), expected, "{interval:?}");
        }
    }

    #[test]
    fn response_that_means_nothing_is_a_failure() {
        let wait = Duration::from_micros(7);
        let granted = decision((1, 7)).unwrap();
        assert_eq!(granted, SlotDecision::Granted { wait });
        let refused = decision((0, 7)).unwrap();
        assert_eq!(refused, SlotDecision::Refused { wait });
        for nonsense in [(2, 7), (-1, 7), (1, -1), (0, i64::MIN)] {
            assert!(decision(nonsense).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn key_does_not_contain_the_name() {
        let store = RedisStore::new("redis://127.0.0.1/").unwrap().prefix("p:");
        let longest = Duration::ZERO;
        let named = |name| SlotRequest::new(Destination::named(name), longest, 1, longest);
        let key = store.key(&named("https://user:secret@api.test"));
        assert_eq!(key.len(), "p:".len() + 32);
        assert!(key.starts_with("p:") && !key.contains("secret"), "{key}");
        assert_ne!(key, store.key(&named("https://other.test")));
        // Processes of all versions share this bucket.
        assert_eq!(
            store.key(&named("https://api.test")),
            "p:6e913087780f58b6913f0717b3fd5b7a"
        );
    }

    #[test]
    fn url_is_in_no_message() {
        let store = RedisStore::new("redis://user:secret@127.0.0.1/").unwrap();
        assert!(!format!("{store:?}").contains("secret"));
        for bad in [
            "secret",
            "http://user:secret@host/",
            "redis://:secret@/",
            "redis://h/secret",
        ] {
            let refused = RedisStore::new(bad).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
            assert!(refused.starts_with("redis.url: "), "{refused}");
        }
    }
}
