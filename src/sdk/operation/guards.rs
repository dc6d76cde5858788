use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::turn::Run;
use super::{Attempt, Failed, Settings};
use crate::call::Observer;
use crate::callback::Site;
use crate::clock;
use crate::config_error::SettingError;
use crate::destination::Destination;
use crate::error::Error;
use crate::idempotency_key::Key;
use crate::limit::Limits;
#[cfg(feature = "otel")]
use crate::metrics::Metrics;
use crate::policy::breaker::{Breaker, Judge};
use crate::policy::retry::Policy;
use crate::telemetry::Maker;
#[cfg(feature = "otel")]
use crate::telemetry::otel::Spans;
use crate::timeline::{Timeline, also};

/// The policies of a call around any async work: deadline, attempt limit, retry, budget, breaker and
/// timeline for an SDK's call, a query, a message for a queue.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::Operation;
/// use sevenhops::sdk::operation::Failed;
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
/// // The key is a unique column: whoever inserts twice, inserts once.
/// let insert = orders.clone().named("insert order").honours_keys(true);
/// insert
///     .run(async |attempt| {
///         let connection = database.connect().await.map_err(Failed::unsent)?;
///         let sql = "INSERT INTO orders (key, amount) VALUES ($1, 100) ON CONFLICT DO NOTHING";
///         Ok(connection.execute(sql, &[attempt.key().as_str()]).await?) // a plain error: maybe
///     })
///     .await?;
///
/// let count = orders.named("count orders").idempotent();
/// let number = count.run(async |_| Ok(database.count("SELECT count(*) FROM orders").await?)).await?;
/// assert_eq!(number, 3);
/// # Ok(()) }
/// ```
///
/// # What it protects from
///
/// A query that hangs for ever; a message that is sent twice because its receipt was lost; a
/// database that cannot get up because everybody keeps asking.
///
/// # When it repeats
///
/// The work says what became of it: `Ok` is done, [`Failed::unsent`] provably not,
/// [`Failed::declined`] not by the word of the server, [`Failed::maybe`] unknown. A plain error is a
/// maybe, and so is an attempt whose time was over. Unsent and declined work is retried; a maybe is not, unless the operation is [`idempotent`](Self::idempotent), or its key was
/// asked for in that attempt and the far side honours it: because the caller brought or derived it
/// ([`key`](Self::key)), or says so ([`honours_keys`](Self::honours_keys)). What would fail again
/// ([`Failed::lasting`]) is not repeated at all.
///
/// # Calls of ours inside
///
/// A [`Client`](crate::Client), or any stack with a [`CallLayer`](crate::CallLayer) or a policy, that is
/// asked from inside the work hears of the operation, also where an SDK between them hands nothing
/// through. It takes over
///
/// - the time left, if that is shorter than its own;
/// - that the operation repeats: it makes one attempt then, so that three attempts of three are not
///   nine. An operation of one attempt leaves the repeating to the calls inside;
/// - a place in the timeline, with its hops; its error, in the work's error, gives the operation's its
///   hop and its kind.
///
/// All of that makes a call shorter and rarer, never another one. The key does not go over by itself:
/// which of several calls it is meant for, only the work knows. Hand it on, as in
/// `client.post(url).idempotency_key(attempt.key().clone())`.
///
/// What sends from a task of its own hears nothing, such as an SDK over a `tower::buffer`: let its
/// client make one attempt only, or see [`Attempt::scope`].
///
/// # Defaults
///
/// Those of [`Settings`]; a deadline has to be named.
///
/// # What it reports
///
/// An [`Error`] that says kind, effect, attempts and when to come back, and whose `source` is the
/// work's own error, to be downcast. It has a hop where a call of ours inside failed at one, or where
/// the work's error names one. Spans: `operation` → `operation attempt`, under the operation's name;
/// calls of ours hang below.
///
/// # Trade-offs
///
/// One effect for all that the work does: two writes in one operation are repeated together, or not
/// at all. A budget and a circuit for what is asked from this process by this operation and its
/// clones, and for nothing else.
///
/// # How people get it wrong
///
/// - An operation for each run: its circuit and its budget learn nothing. Make one, and clone it.
/// - `idempotent` because it should be: ask what a second `UPDATE … SET n = n + 1` does.
/// - A key that is asked for and not handed to the far side: then only the caller believes in it. One that
///   was made up is no licence for a client inside either, unless the operation says that it is honoured.
/// - An SDK that repeats by itself, inside one that repeats: switch one of them off.
///
/// # Cancel safety
///
/// Dropping the future drops the work, gives back the permit and what the budget paid for a repeat
/// that was not begun; the timeline says "cancelled". If the attempt had had its configured time by then, it
/// counts as a timeout.
#[derive(Clone)]
pub struct Operation {
    pub(super) policies: Arc<Policies>,
    pub(super) destination: Destination,
    pub(super) name: Arc<str>,
    pub(super) idempotent: bool,
    pub(super) key: Option<Key>,
    honours_keys: Option<bool>,
    pub(super) observer: Option<Observer>,
    pub(super) maker: Maker,
}

/// What the clones of an operation share.
pub(super) struct Policies {
    pub(super) limits: Arc<Limits>,
    pub(super) policy: Arc<Policy>,
    pub(super) breaker: Breaker,
    pub(super) judge: Judge,
}

impl Operation {
    /// Operations at `destination` that end within `deadline`, with the defaults for the rest.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is shorter than 10 ms or longer than 24 h.
    pub fn new(destination: impl Into<Box<str>>, deadline: Duration) -> Result<Self, SettingError> {
        Self::with(destination, Settings::new(deadline))
    }

    /// Operations at `destination` under these settings.
    ///
    /// # Errors
    ///
    /// Fails if a setting is out of range or contradicts another one, naming fields and values.
    pub fn with(
        destination: impl Into<Box<str>>,
        settings: Settings,
    ) -> Result<Self, SettingError> {
        let limits = settings.check()?;
        let breaker = Breaker::new(&limits, &settings.breaker);
        let judge = settings.breaker.judge(&limits);
        Ok(Self {
            policies: Arc::new(Policies {
                limits: Arc::new(limits),
                policy: Arc::new(Policy::new(settings.retry, clock::now())),
                breaker,
                judge,
            }),
            destination: Destination::named(destination),
            name: Arc::from("operation"),
            idempotent: false,
            key: None,
            honours_keys: None,
            observer: None,
            maker: Maker::Tracing,
        })
    }

    /// Names it for errors, timelines and spans: `insert order`, never with values.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Goes to another destination, under the same settings: a shard, a tenant. Each has a circuit and
    /// a budget of its own.
    #[must_use]
    pub fn to(mut self, destination: impl Into<Box<str>>) -> Self {
        self.destination = Destination::named(destination);
        self
    }

    /// Says that doing it twice is like doing it once: it is repeated after a maybe.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Hands this key to every attempt: one that was brought along, or derived by [`Key::derive`]. The
    /// far side is taken to honour it.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Says whether the far side honours the key that it is handed: if it does, what asked for the key
    /// is repeated after a maybe.
    #[must_use]
    pub fn honours_keys(mut self, yes: bool) -> Self {
        self.honours_keys = Some(yes);
        self
    }

    /// Calls this function at the end of every run: see [`CallLayer::on_end`](crate::CallLayer::on_end).
    #[must_use]
    pub fn on_end(mut self, observe: impl Fn(&Timeline) + Send + Sync + 'static) -> Self {
        let site = Site::new("Operation::on_end");
        self.observer = Some(also(self.observer, site, observe));
        self
    }

    /// Records every run, and shows circuits and budgets. Clones made before are not recorded.
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn metrics(self, metrics: &Metrics) -> Self {
        let gauges = metrics.gauges();
        gauges.circuits.watch(self.policies.breaker.look());
        gauges.budgets.watch(self.policies.policy.look());
        let metrics = metrics.clone();
        self.on_end(move |timeline| metrics.record(timeline))
    }

    /// Makes the spans of every run straight in OpenTelemetry, and none in `tracing`: see
    /// [`Spans`].
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn spans(mut self, spans: &Spans) -> Self {
        self.maker = Maker::Direct(spans.clone());
        self
    }

    /// The circuits, to look at and to work by hand.
    #[must_use]
    pub fn breaker(&self) -> Breaker {
        self.policies.breaker.clone()
    }

    /// Runs it: one attempt after another, until the work is done or a repeat is not safe, worth it or
    /// affordable. What the work changes of what it captures has to be shared (`Cell`, `Mutex`).
    ///
    /// # Errors
    ///
    /// Fails with what the last attempt failed with, or with a policy's refusal; the effect is the
    /// greatest of all attempts.
    ///
    /// # Cancel safety
    ///
    /// See [above](Self#cancel-safety).
    pub async fn run<T, F>(&self, work: impl FnMut(Attempt) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        Run::new(self).run(work).await
    }

    /// Whether the far side honours the key, whoever made it.
    pub(super) fn vouches(&self) -> bool {
        self.honours_keys.unwrap_or_else(|| self.key.is_some())
    }
}

impl fmt::Debug for Operation {
    /// Without the key's value: see [`Key`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("name", &self.name)
            .field("destination", &self.destination)
            .field("idempotent", &self.idempotent)
            .field("key", &self.key)
            .field("honours_keys", &self.honours_keys)
            .finish_non_exhaustive()
    }
}
