use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
const EVEN: Rate = Rate {
    interval: Duration::from_millis(100),
    burst: 1,
};

fn first(rules: Rate) -> Versioned<Rate> {
    Versioned {
        generation: 0,
        rules,
    }
}

fn shared(rate: Rate, now: Instant) -> Arc<Shared> {
    let name = Destination::named("api");
    Arc::new(Shared::new(name, first(rate), now))
}

fn try_take(shared: &Arc<Shared>, rate: Versioned<Rate>, longest: Duration) -> Option<Slot> {
    let terms = (longest, false);
    Arc::clone(shared).reserve(rate, clock::now(), terms).ok()
}

/// Takes a slot, and waits as long as it has to.
fn take(shared: &Arc<Shared>) -> Slot {
    try_take(shared, first(EVEN), Duration::MAX).unwrap()
}

fn waits(slots: &[Slot]) -> Vec<Duration> {
    let now = clock::now();
    let wait = |slot: &Slot| slot.due().saturating_duration_since(now);
    slots.iter().map(wait).collect()
}

#[tokio::test(start_paused = true)]
async fn slot_of_a_call_that_is_gone_is_given_to_the_next_one() {
    let shared = shared(EVEN, clock::now());
    let slots = [(); 3].map(|()| take(&shared));
    assert_eq!(waits(&slots), [MS(0), MS(100), MS(200)]);
    let [sent, gone, kept] = slots;
    drop(sent);
    assert_eq!(
        waits(&[take(&shared)]),
        [MS(300)],
        "a slot that is due is used"
    );
    drop(gone);
    let next = [take(&shared), take(&shared)];
    // Not 200 ms: the call that stays has that slot.
    assert_eq!(waits(&next), [MS(100), MS(300)]);
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn calls_that_leave_the_front_of_the_queue_leave_no_second_queue() {
    let shared = shared(EVEN, clock::now());
    let sent = take(&shared);
    let mut waiting: Vec<_> = (0..50).map(|_| take(&shared)).collect();
    let kept = waiting.split_off(25);
    drop(waiting);
    let new: Vec<_> = (0..26).map(|_| take(&shared)).collect();
    let hundreds = |range: std::ops::RangeInclusive<u64>| range.map(|nth| MS(100 * nth));
    assert_eq!(waits(&kept), hundreds(26..=50).collect::<Vec<_>>());
    let free = hundreds(1..=25).chain(hundreds(51..=51));
    assert_eq!(waits(&new), free.collect::<Vec<_>>());
    drop(sent);
}

#[tokio::test(start_paused = true)]
async fn queue_that_everyone_leaves_is_empty() {
    let shared = shared(EVEN, clock::now());
    let _sent = take(&shared);
    let mut waiting: Vec<_> = (0..9).map(|_| take(&shared)).collect();
    // In any order.
    while !waiting.is_empty() {
        drop(waiting.swap_remove(waiting.len() / 2));
    }
    let bucket = shared.bucket();
    assert_eq!(bucket.full_at, clock::now() + MS(100));
    assert!(bucket.freed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn slot_whose_time_has_passed_is_not_given_again() {
    let shared = shared(EVEN, clock::now());
    let [_sent, gone, _kept] = [(); 3].map(|()| take(&shared));
    drop(gone);
    tokio::time::advance(MS(101)).await;
    assert_eq!(waits(&[take(&shared)]), [MS(199)]);
    assert!(shared.bucket().freed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn slot_that_is_too_late_for_a_call_stays_free() {
    let shared = shared(EVEN, clock::now());
    let [_sent, gone, _kept] = [(); 3].map(|()| take(&shared));
    drop(gone);
    assert!(try_take(&shared, first(EVEN), MS(99)).is_none());
    assert!(try_take(&shared, first(EVEN), MS(100)).is_some());
}

#[tokio::test(start_paused = true)]
async fn bucket_is_kept_until_it_is_full() {
    let now = clock::now();
    let shared = shared(EVEN, now);
    drop(take(&shared));
    assert!(shared.is_pinned(now + MS(99)));
    assert!(!shared.is_pinned(now + MS(100)));
}

fn used_up(reset: Duration) -> Quota {
    Quota { left: 0, reset }
}

#[tokio::test(start_paused = true)]
async fn word_of_the_server_outlasts_a_slot_that_is_given_back() {
    let now = clock::now();
    let shared = shared(EVEN, now);
    let (sent, gone) = (take(&shared), take(&shared));
    sent.informed(used_up(MS(5_000)), now);
    drop(gone);
    assert_eq!(waits(&[take(&shared)]), [MS(5_000)]);
}

#[tokio::test(start_paused = true)]
async fn word_of_the_server_keeps_no_slot_that_is_given_back_later() {
    let now = clock::now();
    let shared = shared(EVEN, now);
    let sent = take(&shared);
    let mut waiting: Vec<_> = (0..20).map(|_| take(&shared)).collect();
    sent.informed(used_up(MS(1_050)), now);
    sent.informed(
        Quota {
            left: 7,
            reset: MS(60_000),
        },
        now,
    );
    // Those before the word of the server are not given again.
    waiting.drain(..15);
    let next: Vec<_> = (0..6).map(|_| take(&shared)).collect();
    let expected = [1_100, 1_200, 1_300, 1_400, 1_500, 2_100].map(MS);
    assert_eq!(waits(&next), expected);
    drop((next, waiting));
    assert_eq!(waits(&[take(&shared)]), [MS(1_100)]);
}

#[tokio::test(start_paused = true)]
async fn steady_flood_gets_the_burst_and_the_rate() {
    let start = clock::now();
    let rate = Rate { burst: 10, ..EVEN };
    let shared = shared(rate, start);
    let ask = |at: u64| {
        Arc::clone(&shared)
            .reserve(first(rate), start + MS(at), (MS(0), false))
            .ok()
    };
    let sent: Vec<_> = (0..10_000).filter_map(ask).collect();
    assert_eq!(sent.len(), 10 + 99);
}

#[tokio::test(start_paused = true)]
async fn newer_rate_keeps_the_requests_that_were_sent_and_not_their_time() {
    let slow = Rate {
        interval: Duration::from_secs(36),
        burst: 100,
    };
    let fast = Rate {
        interval: MS(10),
        burst: 100,
    };
    let shared = shared(slow, clock::now());
    for _ in 0..100 {
        drop(try_take(&shared, first(slow), MS(0)).unwrap());
    }
    assert!(try_take(&shared, first(slow), MS(35_999)).is_none());
    let newer = Versioned {
        generation: 1,
        rules: fast,
    };
    assert!(try_take(&shared, newer, MS(9)).is_none());
    let slot = try_take(&shared, newer, MS(10)).unwrap();
    assert_eq!(waits(&[slot]), [MS(10)]);
    // A call that began before the reload does not bring the old rate back.
    assert!(try_take(&shared, first(slow), MS(10)).is_some());
}

#[tokio::test(start_paused = true)]
async fn newer_rate_does_not_shorten_the_word_of_the_server() {
    let now = clock::now();
    let shared = shared(EVEN, now);
    take(&shared).informed(used_up(MS(5_000)), now);
    let newer = Versioned {
        generation: 1,
        rules: Rate {
            interval: MS(1),
            burst: 1,
        },
    };
    let slot = try_take(&shared, newer, Duration::MAX).unwrap();
    assert_eq!(waits(&[slot]), [MS(5_000)]);
}

#[tokio::test(start_paused = true)]
async fn slot_of_another_rate_is_not_given_again() {
    let shared = shared(EVEN, clock::now());
    let [_sent, gone, left] = [(); 3].map(|()| take(&shared));
    drop(gone);
    let newer = Versioned {
        generation: 1,
        rules: Rate {
            interval: MS(30),
            burst: 1,
        },
    };
    // Three requests are ahead: the slot that was free before is lost.
    let next = try_take(&shared, newer, Duration::MAX).unwrap();
    assert_eq!(waits(&[next]), [MS(90)]);
    drop(left);
    assert!(shared.bucket().freed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_time_gets_more_than_the_rate_and_the_burst_whoever_leaves() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let rate = Rate {
            burst: random.u32(1..=5),
            ..EVEN
        };
        let shared = shared(rate, clock::now());
        let (mut waiting, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..random.usize(20..300) {
            match random.u8(..10) {
                0..5 => {
                    let longest = MS(random.u64(..4_000));
                    waiting.extend(try_take(&shared, first(rate), longest));
                }
                5..8 if !waiting.is_empty() => {
                    drop(waiting.swap_remove(random.usize(..waiting.len())));
                }
                _ => tokio::time::advance(MS(random.u64(..150))).await,
            }
            let now = clock::now();
            let due = |slot: &mut Slot| slot.due() <= now;
            sent.extend(waiting.extract_if(.., due).map(|slot| slot.due()));
        }
        sent.extend(waiting.iter().map(Slot::due));
        sent.sort();
        for (at, begin) in sent.iter().enumerate() {
            let allowed = |end: &Instant| {
                let intervals = (*end - *begin).as_nanos() / rate.interval.as_nanos();
                u128::from(rate.burst) + intervals
            };
            for (count, end) in (1..).zip(&sent[at..]) {
                assert!(
                    count <= allowed(end),
                    "seed {seed}: {count} in {:?}",
                    *end - *begin
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slot_of_a_store_is_lost_if_it_is_left_and_counts_for_the_local_share() {
    let shared = shared(EVEN, clock::now());
    let granted = |wait| Arc::clone(&shared).granted((first(EVEN), wait), clock::now(), false);
    let slot = granted(MS(50));
    assert_eq!(waits(&[slot]), [MS(50)]);
    assert_eq!(
        waits(&[take(&shared)]),
        [MS(100)],
        "the one of the store was not given back"
    );
}

#[tokio::test(start_paused = true)]
async fn slot_of_a_store_waits_for_the_word_of_the_server() {
    let shared = shared(EVEN, clock::now());
    let granted = |wait| Arc::clone(&shared).granted((first(EVEN), wait), clock::now(), true);
    let none = Quota {
        left: 0,
        reset: MS(3_000),
    };
    granted(MS(0)).informed(none, clock::now());
    assert_eq!(shared.not_before(), clock::now() + MS(3_000));
    let slots = [granted(MS(0)), granted(MS(4_000))];
    assert_eq!(waits(&slots), [MS(3_000), MS(4_000)]);
}

#[tokio::test(start_paused = true)]
async fn newer_rate_does_not_empty_a_bucket_that_was_full() {
    let slow = Rate {
        interval: Duration::from_secs(36),
        burst: 100,
    };
    let shared = shared(slow, clock::now());
    drop(try_take(&shared, first(slow), MS(0)).unwrap());
    tokio::time::advance(Duration::from_secs(600)).await;
    let newer = Versioned {
        generation: 1,
        rules: Rate { burst: 101, ..slow },
    };
    let taken = (0..101).map_while(|_| try_take(&shared, newer, MS(0)));
    assert_eq!(taken.count(), 101);
}
