use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::call::Around;
use crate::clock;
use crate::policy::idempotency::Key;

/// One attempt of an operation, as its work sees it.
///
/// Calls of our own clients that the work makes find it by themselves: they end when it has to, leave
/// the repeating to the operation, and stand in its timeline. See
/// [`Operation`](super::Operation#calls-of-ours-inside).
#[derive(Clone)]
pub struct Attempt {
    number: u32,
    around: Around,
    keys: Arc<Keys>,
}

/// The key of an operation, and who asked for it.
pub(super) struct Keys {
    key: OnceLock<Key>,
    /// The attempt that asked for it last; 0 is none.
    asked: AtomicU32,
    /// Whether the far side honours it, also where it is made up.
    is_vouched: bool,
}

impl Attempt {
    pub(super) fn new(number: u32, around: Around, keys: Arc<Keys>) -> Self {
        Self {
            number,
            around,
            keys,
        }
    }

    /// Which attempt it is, counted from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What is left of the attempt's time: a limit for what the work asks for.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.around.ends.saturating_duration_since(clock::now())
    }

    /// The idempotency key, the same in every attempt: the one the caller brought or derived, else
    /// one that is made now (UUID v4).
    ///
    /// A key that an attempt did not ask for is no licence to repeat it: the far side cannot have
    /// seen it.
    #[must_use]
    pub fn key(&self) -> &Key {
        self.keys.asked.store(self.number, Ordering::Release);
        self.keys
            .key
            .get_or_init(|| Key::fresh(self.keys.is_vouched))
    }

    /// Lets the calls of our clients in `future` hear of this attempt. The work itself does anyway;
    /// what it hands to another task does not.
    ///
    /// ```
    /// # use sevenhops::{Client, sdk::operation::{Attempt, Failed}};
    /// async fn work(attempt: Attempt, client: Client) -> Result<(), Failed> {
    ///     let call = async move { client.get("https://api.test/").send().await };
    ///     tokio::spawn(attempt.scope(call)).await?.map_err(Failed::heard)?;
    ///     Ok(())
    /// }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.around.clone().scope(future)
    }
}

impl Keys {
    pub(super) fn new(given: Option<Key>, is_vouched: bool) -> Self {
        Self {
            key: given.map_or_else(OnceLock::new, OnceLock::from),
            asked: AtomicU32::new(0),
            is_vouched,
        }
    }

    /// The key, if this attempt asked for it.
    pub(super) fn asked_by(&self, attempt: u32) -> Option<&Key> {
        let asked = self.asked.load(Ordering::Acquire) == attempt;
        self.key.get().filter(|_| asked)
    }
}

impl fmt::Debug for Attempt {
    /// Without the key: whoever knows it can have its answer replayed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("number", &self.number)
            .field("time_left", &self.time_left())
            .finish_non_exhaustive()
    }
}
