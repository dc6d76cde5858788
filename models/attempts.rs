//! Tests the record of an attempt: taking, giving up, the response and the end race.

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use self::record::Tracker;
use crate::hop::Stage;

#[expect(
    dead_code,
    reason = "the library uses the rest; only what threads share is modeled"
)]
#[path = "../src/record"]
pub(crate) mod record {
    mod stages;
    mod state;
    mod store;

    use loom::sync::{Mutex, MutexGuard};

    use self::stages::End;
    use self::state::Marks;
    use self::store::Store;
    use crate::hop::{Kind, Stage};

    /// Loom's primitives, in place of the standard library's.
    mod sync {
        pub(super) use loom::sync::atomic::{AtomicU32, Ordering};
    }

    /// A stub of the facts. The real ones never decide which of two threads comes first.
    mod facts {
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Facts {
            pub(super) handed_back: Option<super::stages::End>,
            pub(super) went_on: bool,
        }
    }

    /// The atomic word and the store, shared as in the library's tracker.
    #[derive(Debug)]
    pub(crate) struct Tracker {
        marks: Marks,
        store: Mutex<Store>,
    }

    impl Tracker {
        /// Creates the tracker of an attempt whose transport reports its stages.
        pub(crate) fn new() -> Self {
            let tracker = Self {
                marks: Marks::default(),
                store: Mutex::default(),
            };
            let begin = |before| Some(before | state::TRACKED);
            tracker.store().step(&tracker.marks, |_| End::Left, begin);
            tracker
        }

        pub(crate) fn queued(&self) {
            self.store().step(&self.marks, |_| End::Left, state::queued);
        }

        pub(crate) fn take(&self) -> bool {
            self.store().take(&self.marks).before & state::GIVEN_UP == 0
        }

        pub(crate) fn moved_on(&self) {}

        pub(crate) fn is_taken(&self) -> bool {
            self.marks.has(state::TAKEN)
        }

        pub(crate) fn sent_all(&self) {
            self.store()
                .step(&self.marks, |_| End::Left, state::sent_all);
        }

        pub(crate) fn head(&self) {
            self.store().step(&self.marks, |_| End::Left, state::head);
        }

        pub(crate) fn give_up(&self) -> bool {
            self.marks.give_up()
        }

        pub(crate) fn finish(&self) -> bool {
            self.store().end(&self.marks, |_| End::Left).is_some()
        }

        pub(crate) fn cancel(&self) -> bool {
            self.store().end(&self.marks, |_| End::Abandoned).is_some()
        }

        pub(crate) fn fail(&self) -> bool {
            self.store()
                .end(&self.marks, |_| End::Failed(Kind::Closed))
                .is_some()
        }

        pub(crate) fn open(&self) -> Option<Stage> {
            self.store().open()
        }

        /// Returns each stage in order, after the attempt has ended. Then each stage has ended, and none later than the
        /// attempt.
        pub(crate) fn entered(&self) -> Vec<Stage> {
            let store = self.store();
            let over = store.ended.expect("the attempt is over");
            let mut latest = None;
            let records = store.stages.iter().map(|record| {
                let (ended, _) = record.ended.expect("a stage outlives the attempt");
                assert!(latest <= Some(record.entered) && record.entered <= ended && ended <= over);
                latest = Some(record.entered);
                record.stage
            });
            records.collect()
        }

        fn store(&self) -> MutexGuard<'_, Store> {
            self.store.lock().unwrap()
        }
    }
}

/// Starts another thread that reports to the tracker.
fn reports<T: 'static>(
    tracker: &Arc<Tracker>,
    report: impl FnOnce(&Tracker) -> T + 'static,
) -> JoinHandle<T> {
    let tracker = Arc::clone(tracker);
    thread::spawn(move || report(&tracker))
}

#[test]
fn request_is_either_given_up_or_taken_and_both_sides_agree() {
    loom::model(|| {
        let tracker = Arc::new(Tracker::new());
        let first = reports(&tracker, Tracker::take);
        let second = reports(&tracker, Tracker::take);
        let was_taken = tracker.give_up();
        assert_eq!(tracker.is_taken(), was_taken, "as the giver was told");
        let taken = [first.join().unwrap(), second.join().unwrap()];
        assert_eq!(
            taken.contains(&true),
            was_taken,
            "as the connection was told"
        );
        assert_eq!(tracker.is_taken(), was_taken, "it changed afterwards");
        assert!(!tracker.take(), "taken after it was given up");
    });
}

#[test]
fn attempt_ends_once() {
    loom::model(|| {
        let tracker = Arc::new(Tracker::new());
        tracker.queued();
        let finished = reports(&tracker, Tracker::finish);
        let failed = reports(&tracker, Tracker::fail);
        let ends = [
            tracker.cancel(),
            finished.join().unwrap(),
            failed.join().unwrap(),
        ];
        assert_eq!(ends.iter().filter(|ended| **ended).count(), 1);
        assert_eq!(tracker.entered(), [Stage::Send]);
    });
}

#[test]
fn no_stage_opens_after_the_end() {
    let sends: fn(&Tracker) = |tracker| {
        tracker.queued();
        tracker.take();
        tracker.sent_all();
    };
    // One thread takes three steps, and two threads take one each.
    for reported in [vec![sends], vec![Tracker::queued, Tracker::head]] {
        loom::model(move || {
            let tracker = Arc::new(Tracker::new());
            let threads = reported.iter().map(|report| reports(&tracker, *report));
            let threads: Vec<_> = threads.collect();
            assert!(tracker.cancel());
            assert_eq!(tracker.open(), None);
            let before = tracker.entered();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(tracker.entered(), before);
        });
    }
}

#[test]
fn response_before_the_end_of_the_request_leaves_no_wait() {
    loom::model(|| {
        let tracker = Arc::new(Tracker::new());
        tracker.queued();
        let sending = reports(&tracker, Tracker::sent_all);
        tracker.head();
        sending.join().unwrap();
        assert_eq!(tracker.open(), Some(Stage::Receive));
        assert!(tracker.finish());
        let entered = tracker.entered();
        let waited = [Stage::Send, Stage::Wait, Stage::Receive];
        assert!(entered == waited || entered == [Stage::Send, Stage::Receive]);
    });
}
