use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::call::AmbientOperation;
use crate::clock;
use crate::policy::idempotency::IdempotencyKey;

/// One attempt of an operation, as its work sees it.
///
/// If the work uses clients of this crate, they find the attempt by themselves. They end in time for it, leave retries
/// to the operation, and appear in its timeline. See [`Operation`](super::Operation#calls-inside-an-operation).
#[derive(Clone)]
pub struct OperationAttempt {
    number: u32,
    around: AmbientOperation,
    keys: Arc<Keys>,
}

/// The key of an operation, and the attempt that used it.
pub(super) struct Keys {
    key: OnceLock<IdempotencyKey>,
    /// The number of the latest attempt that called `idempotency_key`; 0 means none.
    read_by: AtomicU32,
    /// Whether the server honors the key, even if it was generated here.
    is_vouched: bool,
}

impl OperationAttempt {
    pub(super) fn new(number: u32, around: AmbientOperation, keys: Arc<Keys>) -> Self {
        Self {
            number,
            around,
            keys,
        }
    }

    /// Returns the number of the attempt, counted from 1. A rejection by a policy is not an attempt.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns the time left for the attempt. Use it as the timeout of the work's own waits.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.around.ends.saturating_duration_since(clock::now())
    }

    /// Returns the idempotency key, which is the same in every attempt. It is the key that the caller passed or
    /// derived, otherwise one that is generated now (UUID v4).
    ///
    /// A key permits a retry only if the attempt called this method. Otherwise the server cannot have seen the key.
    #[must_use]
    pub fn idempotency_key(&self) -> &IdempotencyKey {
        self.keys.read_by.store(self.number, Ordering::Release);
        self.keys
            .key
            .get_or_init(|| IdempotencyKey::fresh(self.keys.is_vouched))
    }

    /// Reports the calls that `future` makes with clients of this crate to this attempt. Calls in the work itself are
    /// reported without it. Calls in another task are not.
    ///
    /// ```
    /// # use sevenhops::{Client, OperationAttempt, OperationError};
    /// async fn work(attempt: OperationAttempt, client: Client) -> Result<(), OperationError> {
    ///     let call = async move { client.get("https://api.test/").send().await };
    ///     tokio::spawn(attempt.scope(call)).await?.map_err(OperationError::from_error)?;
    ///     Ok(())
    /// }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.around.clone().scope(future)
    }
}

impl Keys {
    pub(super) fn new(given: Option<IdempotencyKey>, is_vouched: bool) -> Self {
        Self {
            key: given.map_or_else(OnceLock::new, OnceLock::from),
            read_by: AtomicU32::new(0),
            is_vouched,
        }
    }

    /// Returns the key, if an attempt has called `idempotency_key`, or the operation was given one.
    pub(super) fn key(&self) -> Option<&IdempotencyKey> {
        self.key.get()
    }

    /// Returns the key, if this attempt called `idempotency_key`. Before the first attempt, the number is 0.
    pub(super) fn key_read_by(&self, attempt: u32) -> Option<&IdempotencyKey> {
        let read_by = attempt > 0 && self.read_by.load(Ordering::Acquire) == attempt;
        self.key.get().filter(|_| read_by)
    }
}

impl fmt::Debug for OperationAttempt {
    /// Leaves the key out: a reader of the log could use it to get the response replayed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationAttempt")
            .field("number", &self.number)
            .field("time_left", &self.time_left())
            .finish_non_exhaustive()
    }
}
