//! The queue of the calls that wait for a permit: who is served next, who has to go. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::options::Priority;

/// Waiting calls by priority. `T` is the way to reach one.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// From the least to the most important.
    lines: [VecDeque<Waiting<T>>; Priority::ALL.len()],
    next_id: u64,
    /// Since when it has not been empty.
    filled_since: Option<Instant>,
}

#[derive(Debug)]
struct Waiting<T> {
    id: u64,
    to: T,
}

/// A call that waits now, and the less important one whose place it took.
#[derive(Debug)]
pub(super) struct Queued<T> {
    pub(super) id: u64,
    pub(super) shed: Option<T>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            lines: Priority::ALL.map(|_| VecDeque::new()),
            next_id: 0,
            filled_since: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    /// Adds a call. In a full queue it takes the place of the one that has waited longest of the least important
    /// ones. `None` if all are at least as important.
    pub(super) fn push(
        &mut self,
        (priority, to): (Priority, T),
        most: usize,
        now: Instant,
    ) -> Option<Queued<T>> {
        let line = index(priority);
        let shed = match self.len() < most {
            true => None,
            false => Some(
                self.lines[..line]
                    .iter_mut()
                    .find_map(VecDeque::pop_front)?
                    .to,
            ),
        };
        let id = self.next_id;
        self.next_id += 1;
        self.filled_since.get_or_insert(now);
        self.lines[line].push_back(Waiting { id, to });
        Some(Queued { id, shed })
    }

    /// Removes the call that is served next. Of the most important calls, it is the one that came first. Under overload
    /// it is the one that came last, because the first may be about to give up.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        let is_overload = self.is_overload(now);
        let line = self.lines.iter_mut().rev().find(|line| !line.is_empty())?;
        let next = match is_overload {
            true => line.pop_back(),
            false => line.pop_front(),
        };
        self.settle();
        next.map(|waiting| waiting.to)
    }

    /// Removes a call that does not wait any more.
    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let removed = self.lines.iter_mut().find_map(|line| {
            let at = line.iter().position(|waiting| waiting.id == id)?;
            line.remove(at)
        });
        self.settle();
        removed.map(|waiting| waiting.to)
    }

    /// Returns how many calls are served before a new one, if no others come.
    pub(super) fn ahead_of(&self, priority: Priority, now: Instant) -> usize {
        let first = index(priority) + usize::from(self.is_overload(now));
        self.lines[first..].iter().map(VecDeque::len).sum()
    }

    /// Returns whether the queue has not been empty for too long.
    fn is_overload(&self, now: Instant) -> bool {
        let since = self.filled_since;
        since.is_some_and(|since| now.saturating_duration_since(since) >= STANDING)
    }

    fn settle(&mut self) {
        if self.len() == 0 {
            self.filled_since = None;
        }
    }
}

/// Returns the expected wait of a call, if each permit is held for `hold` on average.
pub(super) fn expected_wait(ahead: usize, limit: u32, hold: Duration) -> Duration {
    let ahead = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1);
    hold.saturating_mul(ahead) / limit.max(1)
}

fn index(priority: Priority) -> usize {
    Priority::ALL
        .iter()
        .position(|other| *other == priority)
        .unwrap_or_default()
}

/// A burst leaves the queue within this time. The same value as in CoDel (RFC 8289).
const STANDING: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use Priority::{Critical, Low, Normal};

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn queue(calls: &[(Priority, &'static str)], now: Instant) -> Queue<&'static str> {
        let mut queue = Queue::new();
        for call in calls {
            assert!(queue.push(*call, 10, now).unwrap().shed.is_none());
        }
        queue
    }

    fn served(mut queue: Queue<&'static str>, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop(now)).collect()
    }

    #[test]
    fn important_calls_are_served_first_and_then_in_their_order() {
        let now = clock::now();
        let calls = [
            (Low, "a"),
            (Normal, "b"),
            (Critical, "c"),
            (Normal, "d"),
            (Critical, "e"),
        ];
        let soon = now + MS(99);
        assert_eq!(served(queue(&calls, now), soon), ["c", "e", "b", "d", "a"]);
    }

    #[test]
    fn under_overload_the_newest_call_is_served_first() {
        let now = clock::now();
        let calls = [
            (Normal, "a"),
            (Critical, "b"),
            (Normal, "c"),
            (Critical, "d"),
        ];
        let late = now + MS(100);
        assert_eq!(served(queue(&calls, now), late), ["d", "b", "c", "a"]);
    }

    #[test]
    fn queue_that_was_empty_meanwhile_is_not_overloaded() {
        let now = clock::now();
        let mut queue = queue(&[(Normal, "a")], now);
        assert_eq!(queue.pop(now + MS(200)), Some("a"));
        queue.push((Normal, "b"), 10, now + MS(250));
        queue.push((Normal, "c"), 10, now + MS(300));
        assert_eq!(queue.pop(now + MS(349)), Some("b"));
    }

    #[test]
    fn full_queue_sheds_the_least_important_call_that_waited_longest() {
        let now = clock::now();
        let mut queue = queue(
            &[(Normal, "a"), (Low, "b"), (Low, "c"), (Critical, "d")],
            now,
        );
        let mut push = |call| queue.push(call, 4, now).map(|queued| queued.shed);
        assert_eq!(push((Low, "e")), None);
        assert_eq!(push((Normal, "f")), Some(Some("b")));
        assert_eq!(push((Critical, "g")), Some(Some("c")));
        assert_eq!(push((Normal, "h")), None);
        assert_eq!(push((Critical, "i")), Some(Some("a")));
        assert_eq!(push((Critical, "j")), Some(Some("f")));
        assert_eq!(push((Critical, "k")), None);
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn call_that_is_gone_is_not_served() {
        let now = clock::now();
        let mut queue = Queue::new();
        let ids = ["a", "b"].map(|call| queue.push((Normal, call), 10, now).unwrap().id);
        assert_eq!(queue.remove(ids[0]), Some("a"));
        assert_eq!(queue.remove(ids[0]), None);
        assert_eq!(queue.pop(now), Some("b"));
        assert_eq!(queue.pop(now), None);
    }

    #[test]
    fn expected_wait_counts_the_calls_that_are_served_before() {
        let now = clock::now();
        let queue = queue(&[(Normal, "a"), (Low, "b"), (Critical, "c")], now);
        let ahead = |at| Priority::ALL.map(|priority| queue.ahead_of(priority, at));
        assert_eq!(ahead(now), [3, 2, 1]);
        assert_eq!(
            ahead(now + MS(100)),
            [2, 1, 0],
            "under overload the newest is first"
        );
        assert_eq!(expected_wait(0, 1, MS(50)), MS(50));
        assert_eq!(expected_wait(9, 5, MS(50)), MS(100));
    }
}
