//! The results that need no query: read without a lock, written when a query ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use papaya::HashMap;
use tokio::time::Instant;

use super::cache::ServedAnswer;
use super::{Answer, AnswerOrigin};

/// The DNS answers, by name.
///
/// The cache behind it bounds it: only names in the cache are shown here.
#[derive(Debug, Default)]
pub(crate) struct HotCache(HashMap<Arc<str>, HotEntry>);

#[derive(Debug)]
struct HotEntry {
    shown: ServedAnswer,
    /// Whether a lookup has begun its refresh.
    claimed: AtomicBool,
}

/// A DNS answer from memory.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) answer: Answer,
    /// Whether a refresh is due.
    pub(crate) due: bool,
}

impl HotCache {
    pub(crate) fn find(&self, name: &str, now: Instant) -> Option<Hit> {
        let hot = self.0.pin();
        let HotEntry { shown, claimed } = hot.get(name)?;
        if shown.until <= now {
            return None;
        }
        // Read first: readers then share the cache line.
        if !shown.used.load(Ordering::Relaxed) {
            shown.used.store(true, Ordering::Relaxed);
        }
        Some(Hit {
            answer: Answer::composed(&shown.composed, (now, AnswerOrigin::Memory)),
            due: shown.refresh <= now && !claimed.load(Ordering::Relaxed),
        })
    }

    /// Marks the due refresh as begun for other lookups, until a newer answer is shown. If the newer answer is already
    /// shown, nothing changes.
    pub(crate) fn claim(&self, name: &str, now: Instant) {
        if let Some(kept) = self.0.pin().get(name)
            && kept.shown.refresh <= now
        {
            kept.claimed.store(true, Ordering::Relaxed);
        }
    }

    /// Shows the DNS answer of `name`, or removes it if there is none. `evicted` is removed.
    pub(crate) fn put(&self, name: &Arc<str>, shown: Option<ServedAnswer>, evicted: Option<&str>) {
        let hot = self.0.pin();
        if let Some(evicted) = evicted {
            hot.remove(evicted);
        }
        match shown {
            Some(shown) => {
                let claimed = AtomicBool::new(false);
                hot.insert(Arc::clone(name), HotEntry { shown, claimed });
            }
            None => {
                hot.remove(&**name);
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.0.pin().clear();
    }
}
