//! The books of the mail API: the mails that really went out, the requests that were throttled, and those that came
//! back too early. The client's results are compared with them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::fate::{Fate, Spoken};

pub(crate) struct Ledger {
    seed: u64,
    book: Mutex<Book>,
}

struct Book {
    bucket: Bucket,
    mails: BTreeMap<u32, Mail>,
    counts: Counts,
}

/// The state of one mail.
#[derive(Default)]
struct Mail {
    /// How often it went out.
    sent: u32,
    /// How often the quota let it through.
    let_through: u32,
    /// How often it was throttled.
    throttled: u32,
    /// The instant before which it must not come back.
    not_before: Option<Instant>,
}

/// The counts of the API.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) arrived: u32,
    pub(crate) with_key: u32,
    /// Throttled, by the form of the hint: in seconds, as a date, as a quota.
    pub(crate) throttled: [u32; 3],
    /// Arrived earlier than they were asked to.
    pub(crate) early: u32,
    pub(crate) rejected: u32,
    pub(crate) dropped: u32,
    pub(crate) sent: u32,
    /// Sent, and the response was lost, or was that of the gateway.
    pub(crate) lost: u32,
}

/// The response to a request to send a mail.
pub(crate) enum Word {
    /// The quota is used up: come back after this number of seconds, or at this time.
    Throttled(u64, Option<SystemTime>, Spoken),
    /// There is no such address.
    Rejected,
    /// It was let through. This number of further ones would be, too.
    Admitted(Fate, u32),
}

impl Ledger {
    pub(crate) fn new(seed: u64) -> Self {
        let book = Book {
            bucket: Bucket::new(Instant::now()),
            mails: BTreeMap::new(),
            counts: Counts::default(),
        };
        Self {
            seed,
            book: Mutex::new(book),
        }
    }

    /// Handles a request to send a mail. A key makes no difference.
    pub(crate) fn arrive(&self, mail: u32, keyed: bool) -> Word {
        // In this order, so that the noted time is never later than the announced one.
        let (now, wall) = (Instant::now(), wall());
        let mut book = self.book();
        let Book {
            bucket,
            mails,
            counts,
        } = &mut *book;
        let record = mails.entry(mail).or_default();
        counts.arrived += 1;
        counts.with_key += u32::from(keyed);
        counts.early += u32::from(record.not_before.is_some_and(|at| now < at));
        let left = match bucket.take(now) {
            Ok(left) => left,
            Err(wait) => {
                let spoken = Spoken::of(self.seed, mail, record.throttled);
                counts.throttled[spoken as usize] += 1;
                record.throttled += 1;
                let (stay_away, date) = match spoken {
                    Spoken::Date => date_after(wait, wall),
                    Spoken::Seconds | Spoken::Quota => (whole(wait), None),
                };
                record.not_before = Some(now + stay_away);
                return Word::Throttled(whole(wait).as_secs(), date, spoken);
            }
        };
        let fate = Fate::of(self.seed, mail, record.let_through);
        record.let_through += 1;
        if !is_deliverable(mail) {
            counts.rejected += 1;
            return Word::Rejected;
        }
        match fate {
            Fate::Dropped => counts.dropped += 1,
            Fate::Lost | Fate::GaveUp | Fate::Answer => {
                record.sent += 1;
                counts.sent += 1;
                counts.lost += u32::from(fate != Fate::Answer);
            }
        }
        Word::Admitted(fate, left)
    }

    /// Returns how often a mail went out.
    pub(crate) fn sent(&self, mail: u32) -> u32 {
        self.book().mails.get(&mail).map_or(0, |mail| mail.sent)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.book().counts
    }

    /// Returns how many mails went out more than once.
    pub(crate) fn sent_twice(&self) -> usize {
        let book = self.book();
        book.mails.values().filter(|mail| mail.sent > 1).count()
    }

    /// Returns how many mails were throttled, and how many of them were let through in the end.
    pub(crate) fn throttled(&self) -> (usize, usize) {
        let book = self.book();
        let throttled = || book.mails.values().filter(|mail| mail.throttled > 0);
        let let_through = throttled().filter(|mail| mail.let_through > 0).count();
        (throttled().count(), let_through)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether the address exists. If it does not, no try sends anything.
pub(crate) fn is_deliverable(mail: u32) -> bool {
    !mail.is_multiple_of(EVERY_UNKNOWN)
}

/// Returns the first whole second of the clock that is late enough, and the time until then.
fn date_after(wait: Duration, wall: SystemTime) -> (Duration, Option<SystemTime>) {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH);
    let date = SystemTime::UNIX_EPOCH + whole(since.unwrap_or_default() + wait);
    let stay_away = date.duration_since(wall).unwrap_or_default();
    (stay_away, Some(date))
}

/// Rounded up, because the header has whole seconds only.
fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_millis().div_ceil(1_000) as u64)
}

#[expect(clippy::disallowed_methods, reason = "an HTTP date is wall time")]
fn wall() -> SystemTime {
    SystemTime::now()
}

/// One address in this number does not exist: the API says that no mail went out.
const EVERY_UNKNOWN: u32 = 16;
