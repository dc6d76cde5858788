use std::sync::atomic::AtomicBool;

use super::*;
use crate::clock;

#[derive(Debug, Default)]
struct Note {
    pinned: AtomicBool,
}

impl Entry for Note {
    fn is_pinned(&self, _now: Instant) -> bool {
        self.pinned.load(Ordering::Relaxed)
    }
}

fn name(number: usize) -> Destination {
    Destination::named(format!("host-{number}"))
}

fn key(number: usize) -> HashedKey {
    name(number).into()
}

fn filled(most: usize, now: Instant) -> Registry<Note> {
    let registry = Registry::bounded(most, now);
    for number in 0..most {
        let at = now + Duration::from_secs(number as u64);
        registry.get_or_keep(name(number), Note::default(), at);
    }
    registry
}

#[test]
fn kept_entry_is_found_again() {
    let now = clock::now();
    let registry = Registry::new(now);
    let kept = registry.get_or_keep(name(0), Note::default(), now);
    assert!(Arc::ptr_eq(&kept, &registry.get(&key(0), now).unwrap()));
    let again = registry.get_or_keep(name(0), Note::default(), now);
    assert!(Arc::ptr_eq(&kept, &again));
    assert!(registry.get(&key(1), now).is_none());
}

#[test]
fn flood_of_names_never_exceeds_the_bound() {
    let now = clock::now();
    let registry = Registry::new(now);
    for number in 0..3 * MOST_DESTINATIONS {
        registry.get_or_keep(name(number), Note::default(), now);
        assert!(registry.len() <= MOST_DESTINATIONS);
    }
    assert!(registry.len() > MOST_DESTINATIONS / 2);
}

#[test]
fn idle_entries_are_removed_first() {
    let start = clock::now();
    let registry = filled(100, start);
    let later = start + IDLE + Duration::from_secs(49);
    registry.get(&key(7), later);
    registry.get_or_keep(name(100), Note::default(), later);
    // Entries 0 to 49 were idle for ten minutes, except for the one that was used again.
    assert_eq!(registry.len(), 100 - 49 + 1);
    assert!(registry.get(&key(7), later).is_some());
    assert!(registry.get(&key(50), later).is_some());
    assert!(registry.get(&key(49), later).is_none());
}

#[test]
fn least_recently_used_entries_are_removed_if_none_is_idle() {
    let start = clock::now();
    let registry = filled(32, start);
    let now = start + Duration::from_secs(40);
    registry.get(&key(0), now);
    registry.get_or_keep(name(32), Note::default(), now);
    let kept = |number| registry.get(&key(number), now).is_some();
    assert!(kept(0) && !kept(1) && !kept(2) && kept(3) && kept(32));
}

#[test]
fn pinned_entry_is_never_forgotten() {
    let start = clock::now();
    let registry = filled(16, start);
    let pinned = registry.get(&key(3), start).unwrap();
    pinned.pinned.store(true, Ordering::Relaxed);
    drop(pinned);
    for number in 16..1_000 {
        let at = start + IDLE * u32::try_from(number).unwrap();
        registry.get_or_keep(name(number), Note::default(), at);
    }
    assert!(registry.peek(&name(3), |_| ()).is_some());
}

#[test]
fn entry_in_use_is_not_removed() {
    let start = clock::now();
    let registry = filled(16, start);
    let held = registry.get(&key(0), start).unwrap();
    registry.get_or_keep(name(16), Note::default(), start + IDLE * 2);
    assert!(Arc::ptr_eq(&held, &registry.get(&key(0), start).unwrap()));
}

#[test]
fn threads_share_one_entry_for_each_name() {
    let now = clock::now();
    let registry = Registry::bounded(256, now);
    let ask = || {
        let keep = |number| registry.get_or_keep(name(number), Note::default(), now);
        (0..200).map(keep).collect::<Vec<_>>()
    };
    let kept = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        let kept = asking.into_iter().map(|asking| asking.join().unwrap());
        kept.collect::<Vec<_>>()
    });
    for others in &kept[1..] {
        let same = |(one, other): (&Arc<Note>, &Arc<Note>)| Arc::ptr_eq(one, other);
        assert!(kept[0].iter().zip(others).all(same));
    }
}

#[test]
fn threads_that_flood_it_do_not_exceed_the_bound() {
    let now = clock::now();
    let registry = Registry::bounded(64, now);
    let flood = |thread: usize| {
        for number in 0..2_000 {
            let key = name(number * 4 + thread);
            drop(registry.get_or_keep(key, Note::default(), now));
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || flood(thread));
        }
    });
    assert!((1..=64).contains(&registry.len()));
}

#[test]
fn new_entry_is_not_kept_if_all_are_pinned() {
    let start = clock::now();
    let registry = filled(16, start);
    registry.each(|_, note| note.pinned.store(true, Ordering::Relaxed));
    let now = start + IDLE * 2;
    registry.get_or_keep(name(16), Note::default(), now);
    assert!(registry.get(&key(16), now).is_none());
    registry.get_or_insist(name(17), Note::default(), now);
    assert!(registry.get(&key(17), now).is_some());
    assert_eq!(registry.len(), 17);

    registry.each(|_, note| note.pinned.store(false, Ordering::Relaxed));
    registry.get_or_keep(name(18), Note::default(), now + LOOK_AGAIN);
    assert!(registry.get(&key(18), now).is_some());
}
