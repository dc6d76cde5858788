use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::run::Run;
use super::{OperationAttempt, OperationConfig, OperationError};
use crate::call::Observer;
use crate::callback::Site;
use crate::clock;
use crate::config_error::ConfigError;
use crate::destination::Destination;
use crate::driver::{self, Load, LoadConfigs, LoadRules};
use crate::error::Error;
use crate::idempotency_key::IdempotencyKey;
#[cfg(feature = "otel")]
use crate::metrics::Metrics;
use crate::policy::breaker::{CircuitBreakerHandle, Judge};
use crate::policy::rate_limit::SharedRateLimit;
use crate::policy::retry::RetryPolicy;
use crate::retry_after::Hints;
use crate::telemetry::Maker;
#[cfg(feature = "otel")]
use crate::telemetry::otel::Spans;
use crate::timeline::{Timeline, also};
use crate::timeout::Timeouts;

/// Applies the policies of a call to any async work, such as an SDK's call, a query, or a message to a queue. The work
/// gets a deadline, an attempt timeout, retries with a budget, a breaker and a timeline.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Operation, OperationError};
/// # use std::io::{Error as Down, ErrorKind::ConnectionRefused};
/// # struct Database(std::sync::atomic::AtomicU32);
/// # impl Database {
/// #     async fn connect(&self) -> Result<&Self, Down> {
/// #         match self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
/// #             0 => Err(ConnectionRefused.into()),
/// #             _ => Ok(self),
/// #         }
/// #     }
/// #     async fn execute(&self, _: &str, _: &[&str]) -> Result<u64, Down> { Ok(1) }
/// #     async fn count(&self, _: &str) -> Result<i64, Down> { Ok(3) }
/// # }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = Database(Default::default());
/// // One for each destination; clones share its circuit and its budget.
/// let orders = Operation::new("orders-db", Duration::from_secs(5))?;
///
/// // The key is a unique column: a second insert with the same key changes nothing.
/// let insert = orders.clone().name("insert order").honors_idempotency_keys(true);
/// insert
///     .run(async |attempt| {
///         let connection = database.connect().await.map_err(OperationError::not_sent)?;
///         let sql = "INSERT INTO orders (key, amount) VALUES ($1, 100) ON CONFLICT DO NOTHING";
///         Ok(connection.execute(sql, &[attempt.idempotency_key().as_str()]).await?) // a plain error: unknown
///     })
///     .await?;
///
/// let count = orders.name("count orders").idempotent(true);
/// let number = count.run(async |_| Ok(database.count("SELECT count(*) FROM orders").await?)).await?;
/// assert_eq!(number, 3);
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// - A query that never returns.
/// - A message that is sent twice because its receipt was lost.
/// - A database that cannot recover because all clients keep sending requests.
///
/// # When it retries
///
/// The work returns what happened. `Ok` is done. [`OperationError::not_sent`] provably did not happen,
/// [`OperationError::declined`] did not happen according to the server, and [`OperationError::unknown`] may have
/// happened. Every other error counts as unknown, and so does an attempt that ran out of time. Unsent and declined work
/// is retried. Unknown work is retried in two cases:
///
/// - the operation is [`idempotent`](Self::idempotent);
/// - the attempt called [`OperationAttempt::idempotency_key`], and the server honors the key. The server is assumed to
///   honor a key that the caller passed or derived ([`idempotency_key`](Self::idempotency_key)). It is assumed to honor
///   generated keys only with [`honors_idempotency_keys`](Self::honors_idempotency_keys).
///
/// A permanent failure ([`OperationError::permanent`]) is not retried.
///
/// # Calls inside an operation
///
/// If the work calls a [`Client`](crate::Client), that call finds the operation, even if the SDK between them passes
/// nothing through. So does a call through any stack with a layer of this crate, except a
/// [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) alone. The call inherits three things:
///
/// - The time left, if that is shorter than its own.
/// - The retries of the operation. The call then makes one attempt, so that three attempts of three do not make nine.
///   An operation with one attempt leaves retries to the calls inside.
/// - The timeline: the call and its hops appear in it. If the work's error contains the call's error, the operation's
///   error gets its hop and kind. The work's error may show nothing, as with an SDK that reads statuses itself. If the
///   last call in the attempt failed, the operation's error then gets hop, kind, status and wait of that call. A 400 is
///   then not retried. [`OperationError::transient`] overrides that.
///
/// These only make a call shorter or reduce its attempts. They never change which call it is. The key is not passed on
/// automatically, because only the work knows which of several calls it belongs to. Pass it yourself:
/// `Options::new().idempotency_key(attempt.idempotency_key().clone())`.
///
/// A request that is sent from another task does not find the operation. An SDK over a `tower::buffer` is an example.
/// Limit its client to one attempt, or use [`OperationAttempt::scope`].
///
/// # Defaults
///
/// The defaults are those of [`OperationConfig`]. The deadline has no default.
///
/// # Reports
///
/// A failure is an [`Error`] with kind, effect, attempts and the time after which to retry. Its `source` is the work's
/// own error, which can be downcast. It has a hop if a call inside failed at a hop, or if the work's error names one.
/// The spans are `operation` → `operation attempt`, with the operation's name. The calls inside are child spans.
///
/// # Trade-offs
///
/// An operation has one effect: if it makes two writes, both are retried or neither is. The budget and the circuit
/// cover only this operation and its clones in this process.
///
/// # How people get it wrong
///
/// - A new operation for each run: its circuit and its budget learn nothing. Create one, and clone it.
/// - `idempotent` on work that is not. Set it only if a second run changes nothing: a second
///   `UPDATE … SET n = n + 1` does change something.
/// - A key that the work gets and does not send to the server: the operation then retries without protection. A
///   generated key also does not permit a client inside to retry, unless the operation says that the server honors it.
/// - An SDK that retries, inside an operation that retries: switch one of them off.
///
/// # Cancel safety
///
/// If the future is dropped, the work is dropped too. The permit is given back, and so is the budget's payment for a
/// retry that had not begun. The timeline records that the caller cancelled. If the attempt had already used its
/// configured time, it counts as a timeout.
#[derive(Clone)]
pub struct Operation {
    pub(super) policies: Arc<OperationPolicies>,
    pub(super) destination: Destination,
    pub(super) name: Arc<str>,
    pub(super) idempotent: bool,
    pub(super) key: Option<IdempotencyKey>,
    honors_idempotency_keys: Option<bool>,
    pub(super) observer: Option<Observer>,
    pub(super) maker: Maker,
}

/// The state that the clones of an operation share.
#[derive(Clone)]
pub(super) struct OperationPolicies {
    pub(super) timeouts: Arc<Timeouts>,
    pub(super) policy: Arc<RetryPolicy>,
    pub(super) breaker: CircuitBreakerHandle,
    pub(super) judge: Judge,
    /// The policies that bound the load of a destination.
    pub(super) load: driver::Policies,
}

impl Operation {
    /// Creates an operation for `destination` that ends within `deadline`, with the defaults for the rest.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is shorter than 10 ms or longer than 24 h.
    pub fn new(destination: impl Into<Box<str>>, deadline: Duration) -> Result<Self, ConfigError> {
        Self::from_config(destination, OperationConfig::new(deadline))
    }

    /// Creates an operation for `destination` with this config.
    ///
    /// # Errors
    ///
    /// Fails if a value is out of range or contradicts another one. The error names the fields and their values.
    pub fn from_config(
        destination: impl Into<Box<str>>,
        config: OperationConfig,
    ) -> Result<Self, ConfigError> {
        let timeouts = config.check()?;
        let breaker = CircuitBreakerHandle::new(&timeouts, &config.circuit_breaker);
        let judge = config.circuit_breaker.judge(&timeouts);
        let own = LoadConfigs::new(
            config.throttle.as_ref(),
            config.concurrency.as_ref(),
            config.rate_limit.as_ref(),
        );
        let on = (own, &LoadRules::default());
        let load = Load::new().policies(on, None, &Hints::default());
        Ok(Self {
            policies: Arc::new(OperationPolicies {
                timeouts: Arc::new(timeouts),
                policy: Arc::new(RetryPolicy::new(config.retry, clock::now())),
                breaker,
                judge,
                load,
            }),
            destination: Destination::named(destination),
            name: Arc::from("operation"),
            idempotent: false,
            key: None,
            honors_idempotency_keys: None,
            observer: None,
            maker: Maker::Tracing,
        })
    }

    /// Sets the name in errors, timelines and spans, such as `insert order`. Do not put values into it.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets another destination with the same config, such as a shard or a tenant. Each destination has its own circuit
    /// and budget.
    #[must_use]
    pub fn destination(mut self, destination: impl Into<Box<str>>) -> Self {
        self.destination = Destination::named(destination);
        self
    }

    /// Sets whether the operation is idempotent: a second run changes nothing, so it is retried even if its effect is
    /// unknown. The default is `false`.
    #[must_use]
    pub fn idempotent(mut self, yes: bool) -> Self {
        self.idempotent = yes;
        self
    }

    /// Sets the key for every attempt: a key that you received, or one from [`IdempotencyKey::derive`]. The server is
    /// assumed to honor it.
    #[must_use]
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets whether the server honors the key that it receives. If it does, an attempt that called
    /// [`OperationAttempt::idempotency_key`] is retried even if its effect is unknown. By default only
    /// a key that you set counts as honored.
    #[must_use]
    pub fn honors_idempotency_keys(mut self, yes: bool) -> Self {
        self.honors_idempotency_keys = Some(yes);
        self
    }

    /// Shares the rate limit with other processes, by a store: see [`SharedRateLimit`].
    ///
    /// # Errors
    ///
    /// Fails if the config has no rate limit.
    pub fn share_rate_limit(mut self, limit: &SharedRateLimit) -> Result<Self, ConfigError> {
        let policies = Arc::make_mut(&mut self.policies);
        let Some(rate_limit) = &mut policies.load.rate_limit else {
            let why = "it is missing: a store shares the limit of the config";
            return Err(ConfigError::refused("rate_limit", why));
        };
        rate_limit.share(limit);
        Ok(self)
    }

    /// Sets a function that is called at the end of every run: see
    /// [`DeadlineLayer::on_complete`](crate::DeadlineLayer::on_complete).
    #[must_use]
    pub fn on_complete(mut self, observe: impl Fn(&Timeline) + Send + Sync + 'static) -> Self {
        let site = Site::new("Operation::on_complete");
        self.observer = Some(also(self.observer, site, observe));
        self
    }

    /// Records every run in these metrics, together with the circuits, budgets and limits. Clones that were made before are not
    /// recorded.
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn metrics(self, metrics: &Metrics) -> Self {
        let gauges = metrics.gauges();
        self.policies.breaker.report_to(metrics);
        gauges.budgets.watch(self.policies.policy.budgets.look());
        self.policies.load.watch_load(gauges);
        let metrics = metrics.clone();
        self.on_complete(move |timeline| metrics.record(timeline))
    }

    /// Creates the spans of every run directly in OpenTelemetry, and none in `tracing`: see [`Spans`].
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn spans(mut self, spans: &Spans) -> Self {
        self.maker = Maker::Direct(spans.clone());
        self
    }

    /// Returns the circuits, to read them and to open or close them by hand.
    #[must_use]
    pub fn breaker_handle(&self) -> CircuitBreakerHandle {
        self.policies.breaker.clone()
    }

    /// Runs the work, one attempt after another, until it succeeds or a retry is not safe, not useful or not
    /// affordable. Captured state that the work changes must be shared (`Cell`, `Mutex`).
    ///
    /// # Errors
    ///
    /// Fails with the error of the last attempt, or with a policy's rejection. The effect is the greatest of all
    /// attempts.
    ///
    /// # Cancel safety
    ///
    /// See [above](Self#cancel-safety).
    pub async fn run<T, F>(&self, work: impl FnMut(OperationAttempt) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, OperationError>>,
    {
        Run::new(self).run(work).await
    }

    /// Returns whether the server honors the key, whether the caller passed it or it was generated.
    pub(super) fn vouches(&self) -> bool {
        self.honors_idempotency_keys
            .unwrap_or_else(|| self.key.is_some())
    }
}

impl fmt::Debug for Operation {
    /// Leaves out the key's value: see [`IdempotencyKey`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("name", &self.name)
            .field("destination", &self.destination)
            .field("idempotent", &self.idempotent)
            .field("key", &self.key)
            .field("honors_idempotency_keys", &self.honors_idempotency_keys)
            .finish_non_exhaustive()
    }
}
