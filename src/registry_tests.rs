use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;
use crate::clock;

#[derive(Debug, Default)]
struct Note {
    pinned: AtomicBool,
    /// How often the registry has asked whether it is pinned.
    asked: AtomicUsize,
}

impl Entry for Note {
    fn is_pinned(&self, _now: Instant) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.pinned.load(Ordering::Relaxed)
    }
}

const SECS: fn(u64) -> Duration = Duration::from_secs;

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
    let registry = Registry::bounded(1_000, now);
    for number in 0..3_000 {
        registry.get_or_keep(name(number), Note::default(), now);
        assert_eq!(registry.len(), (number + 1).min(1_000));
    }
}

/// Keeps another entry, and returns the numbers of those that were removed for it.
fn removed(registry: &Registry<Note>, number: usize, now: Instant) -> Vec<usize> {
    let kept = |registry: &Registry<Note>| -> Vec<_> {
        let is_kept = |number: &usize| registry.peek(&name(*number), |_| ()).is_some();
        (0..number).filter(is_kept).collect()
    };
    let before = kept(registry);
    registry.get_or_keep(name(number), Note::default(), now);
    let after = kept(registry);
    let is_removed = |number: &usize| !after.contains(number);
    before.into_iter().filter(is_removed).collect()
}

#[test]
fn entry_that_was_not_used_again_is_removed_first() {
    let start = clock::now();
    let registry = filled(16, start);
    let now = start + SECS(40);
    for number in [0, 1, 3] {
        registry.get(&key(number), now);
    }
    assert_eq!(removed(&registry, 16, now), [2]);
    assert_eq!(removed(&registry, 17, now), [4]);
}

#[test]
fn idle_entry_is_removed_before_one_in_use() {
    let start = clock::now();
    let registry = filled(16, start);
    // All were used again, so only the time of the last use distinguishes them.
    for number in 0..16 {
        let again = SECS(if number == 5 { 20 } else { 100 });
        registry.get(&key(number), start + again);
    }
    let later = start + IDLE + SECS(20);
    assert_eq!(removed(&registry, 16, later), [5]);
    assert_eq!(registry.len(), 16);
}

#[test]
fn least_recently_used_entry_is_removed_if_all_were_used_again() {
    let start = clock::now();
    let registry = filled(16, start);
    for number in 0..16_u64 {
        let again = SECS(100 + (number + 9) % 16);
        registry.get(&key(number as usize), start + again);
    }
    let now = start + SECS(200);
    assert_eq!(removed(&registry, 16, now), [7]);
}

#[test]
fn entries_in_use_survive_a_flood_of_names() {
    let start = clock::now();
    let registry = filled(64, start);
    let mut number = 64;
    for second in 100..200 {
        for of_the_caller in 0..8 {
            let known = registry.get(&key(of_the_caller), start + SECS(second));
            assert!(known.is_some(), "{of_the_caller} in second {second}");
        }
        for _ in 0..32 {
            registry.get_or_keep(name(number), Note::default(), start + SECS(second));
            number += 1;
        }
    }
}

#[test]
fn removal_looks_at_a_few_entries_however_many_there_are() {
    let start = clock::now();
    let registry = filled(1_000, start);
    let pinned: Vec<_> = (0..100).map(key).collect();
    for key in &pinned {
        let pin = |note: &Arc<Note>| note.pinned.store(true, Ordering::Relaxed);
        registry.read(key, start, pin);
    }
    let asked = || {
        let asked = registry.each(|_, note| note.asked.load(Ordering::Relaxed));
        asked.into_iter().sum::<usize>()
    };
    let now = start + SECS(2_000);
    let mut before = 0;
    for number in 1_000..1_010 {
        registry.get_or_keep(name(number), Note::default(), now);
        // The first candidates are pinned, so the first removal looks at more of them.
        let most = if number == 1_000 {
            110
        } else {
            MOST_CANDIDATES
        };
        assert!(asked() - before <= 2 * most, "{}", asked());
        before = asked();
        assert!(registry.get(&key(number), now).is_some());
    }
    assert!(pinned.iter().all(|key| registry.get(key, now).is_some()));
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
    registry.get_or_keep(name(18), Note::default(), now);
    assert!(registry.get(&key(18), now).is_some());
    assert_eq!(registry.len(), 16, "it is within the bound again");
}

#[test]
fn two_keys_with_one_hash_are_two_entries() {
    let now = clock::now();
    let registry: Registry<Note> = Registry::bounded(2, now);
    let keep = |number: usize| {
        let slot = RegistrySlot {
            value: Arc::new(Note::default()),
            used: AtomicU32::new(0),
            used_before: AtomicU32::new(0),
        };
        let key = HashedKey {
            hash: 7,
            destination: name(number),
        };
        registry.map.pin().insert(key, slot);
        registry.queue.lock().unwrap().push_back(7);
    };
    keep(0);
    keep(1);
    assert_eq!(registry.len(), 2);
    for number in 2..4 {
        registry.get_or_keep(name(number), Note::default(), now);
        assert_eq!(registry.len(), 2);
    }
    assert!(registry.get(&key(2), now).is_some() && registry.get(&key(3), now).is_some());
}
