use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
pub(super) const SECS: fn(u64) -> Duration = Duration::from_secs;

pub(super) fn ip(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

pub(super) fn given(addresses: &[u8]) -> Arc<[IpAddr]> {
    addresses.iter().map(|last| ip(*last)).collect()
}

/// A DNS answer of a new generation.
pub(super) fn whole(addresses: &[IpAddr]) -> ResolvedAddresses<'_> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    ResolvedAddresses {
        addresses,
        generation: NEXT.fetch_add(1, Ordering::Relaxed),
        ttl: SECS(5),
        speaks_for: (true, true),
    }
}

pub(super) fn start() -> Instant {
    Instant::now()
}

/// Returns a balancer that knows these addresses.
pub(super) fn balancer(addresses: &Arc<[IpAddr]>, now: Instant) -> Balancer {
    let mut balancer = Balancer::default();
    assert!(balancer.update(&whole(addresses), now).is_empty());
    balancer
}

/// Makes a request to an address, with this outcome.
pub(super) fn go(balancer: &mut Balancer, address: IpAddr, outcome: AddressOutcome, now: Instant) {
    let entry = balancer.begin(address, now).unwrap();
    balancer.end(entry, outcome, now);
}

/// Makes a request to the first address, and returns that address.
fn call(
    balancer: &mut Balancer,
    addresses: &[IpAddr],
    now: Instant,
    fares: impl Fn(IpAddr) -> AddressOutcome,
) -> IpAddr {
    let first = balancer.order(addresses, 8, now)[0];
    go(balancer, first, fares(first), now);
    first
}

#[tokio::test(start_paused = true)]
async fn fewest_in_flight_is_chosen_and_the_warm_one_on_a_tie() {
    let (now, all) = (start(), given(&[1, 2, 3]));
    let mut balancer = balancer(&all, now);
    assert_eq!(balancer.order(&all, 8, now), *all, "the order of DNS");
    go(&mut balancer, ip(2), AddressOutcome::Answered(MS(1)), now);
    assert_eq!(balancer.order(&all, 8, now)[0], ip(2), "warm");
    balancer.begin(ip(2), now);
    assert_eq!(
        balancer.order(&all, 2, now),
        [ip(1), ip(3)],
        "one in flight"
    );
}

#[tokio::test(start_paused = true)]
async fn address_absent_from_one_fresh_answer_is_gone() {
    let (now, old, new) = (start(), given(&[1, 2]), given(&[2, 3]));
    let mut balancer = balancer(&old, now);
    assert_eq!(balancer.update(&whole(&new), now), [ip(1)]);
    assert!(balancer.update(&whole(&new), now).is_empty(), "told once");
}

#[tokio::test(start_paused = true)]
async fn addresses_are_those_that_did_not_leave() {
    let now = start();
    let mut balancer = Balancer::default();
    for (second, (addresses, all)) in [
        (&[1, 2][..], &[1, 2][..]),
        (&[2, 1], &[1, 2]),
        (&[2], &[2]),
        (&[2, 3], &[2, 3]),
        // It comes back.
        (&[1, 2, 3], &[1, 2, 3]),
        // From now on the name counts as rotating: one answer without the address does not remove it.
        (&[3], &[1, 2, 3]),
        (&[1, 3], &[1, 2, 3]),
    ]
    .into_iter()
    .enumerate()
    {
        let at = now + SECS(second as u64);
        balancer.update(&whole(&given(addresses)), at);
        let mut known = balancer.addresses();
        known.sort();
        assert_eq!(known, all.iter().map(|last| ip(*last)).collect::<Vec<_>>());
        assert_eq!(balancer.knows(ip(1)), all.contains(&1), "{second}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_to_an_address_that_left_does_not_count_after_it_came_back() {
    let (now, both, other) = (start(), given(&[1, 2]), given(&[2]));
    let mut balancer = balancer(&both, now);
    let long = balancer.begin(ip(1), now).unwrap();
    balancer.update(&whole(&other), now);
    balancer.update(&whole(&both), now);
    let short = balancer.begin(ip(1), now).unwrap();
    assert_eq!(balancer.order(&both, 8, now)[0], ip(2), "one is busy");
    balancer.end(long, AddressOutcome::Unreachable, now);
    assert_eq!(balancer.order(&both, 8, now)[0], ip(2), "and still is");
    balancer.end(short, AddressOutcome::Answered(MS(1)), now);
    assert_eq!(
        balancer.order(&both, 8, now)[0],
        ip(1),
        "warm, and it never refused"
    );
}

#[tokio::test(start_paused = true)]
async fn answer_removes_no_address_of_a_family_that_it_does_not_cover() {
    let (now, old, new) = (start(), given(&[1, 2]), given(&[2]));
    for silent in [(false, false), (false, true)] {
        let mut balancer = balancer(&old, now);
        let mut answer = whole(&new);
        answer.speaks_for = silent;
        assert!(balancer.update(&answer, now).is_empty());
        // The same addresses again, now with authority.
        answer.speaks_for = (true, true);
        assert_eq!(balancer.update(&answer, now), [ip(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn rotating_addresses_are_removed_only_after_a_minute() {
    let (now, one, two) = (start(), given(&[1]), given(&[2]));
    let mut balancer = balancer(&one, now);
    assert_eq!(balancer.update(&whole(&two), now + SECS(5)), [ip(1)]);
    // It comes back: the name rotates a set of addresses.
    assert!(balancer.update(&whole(&one), now + SECS(10)).is_empty());
    let three = given(&[3]);
    assert!(balancer.update(&whole(&three), now + SECS(15)).is_empty());
    assert!(balancer.update(&whole(&three), now + SECS(69)).is_empty());
    let mut gone = balancer.update(&whole(&three), now + SECS(75));
    gone.sort();
    assert_eq!(gone, [ip(1), ip(2)]);
}

#[tokio::test(start_paused = true)]
async fn name_whose_address_comes_back_a_day_later_does_not_rotate() {
    let (now, one, two) = (start(), given(&[1]), given(&[2]));
    let mut balancer = balancer(&one, now);
    for (second, answer, gone) in [(1, &two, 1), (86_400, &one, 2), (172_800, &two, 1)] {
        let at = now + SECS(second);
        assert_eq!(balancer.update(&whole(answer), at), [ip(gone)], "{second}");
        assert!(!balancer.knows(ip(gone)));
    }
}

#[tokio::test(start_paused = true)]
async fn name_stops_rotating_a_minute_after_the_last_address_came_back() {
    let (now, one, two, three) = (start(), given(&[1]), given(&[2]), given(&[3]));
    let mut balancer = balancer(&one, now);
    assert_eq!(balancer.update(&whole(&two), now + SECS(5)), [ip(1)]);
    let back = whole(&one);
    for second in [10, 69] {
        assert!(balancer.update(&back, now + SECS(second)).is_empty());
    }
    assert_eq!(
        balancer.update(&back, now + SECS(70)),
        [ip(2)],
        "kept for a minute"
    );
    assert_eq!(
        balancer.update(&whole(&three), now + SECS(71)),
        [ip(1)],
        "not kept"
    );
}

#[tokio::test(start_paused = true)]
async fn address_that_drops_connects_is_tried_last_for_a_while() {
    let (now, all) = (start(), given(&[1, 2]));
    let mut balancer = balancer(&all, now);
    go(&mut balancer, ip(1), AddressOutcome::Unreachable, now);
    assert_eq!(balancer.order(&all, 8, now), [ip(2), ip(1)]);
    let soon = now + MS(999);
    assert_eq!(balancer.order(&all, 8, soon)[0], ip(2));
    let later = now + SECS(1);
    assert_eq!(
        balancer.order(&all, 8, later)[0],
        ip(1),
        "and then again: it is the warm one"
    );
    go(&mut balancer, ip(1), AddressOutcome::Unreachable, later);
    assert_eq!(
        balancer.order(&all, 8, later + MS(1_999))[0],
        ip(2),
        "twice as long"
    );
}

#[tokio::test(start_paused = true)]
async fn slow_address_is_set_aside_and_gets_trials_only() {
    let (start, all) = (start(), given(&[1, 2, 3]));
    let mut balancer = balancer(&all, start);
    let slow = |address| AddressOutcome::Answered(if address == ip(3) { MS(150) } else { MS(50) });
    // 100 requests a second, three at a time.
    let mut after_five_seconds = (0, 0);
    for round in 0..1_000 {
        let now = start + MS(30) * round;
        let mut under_way = Vec::new();
        for _ in 0..3 {
            let address = balancer.order(&all, 8, now)[0];
            under_way.push((address, balancer.begin(address, now).unwrap()));
        }
        for (address, entry) in under_way {
            balancer.end(entry, slow(address), now);
            if now > start + SECS(5) {
                after_five_seconds.0 += u32::from(address == ip(3));
                after_five_seconds.1 += 1;
            }
        }
    }
    let (there, total) = after_five_seconds;
    assert!(there > 0, "tried again");
    assert!(there * 10 <= total, "{there} of {total}");
}

#[tokio::test(start_paused = true)]
async fn recovered_address_comes_back_after_a_few_good_trials() {
    let (mut now, all) = (start(), given(&[1, 2, 3]));
    let mut balancer = balancer(&all, now);
    for _ in 0..20 {
        for address in all.iter() {
            let outcome =
                AddressOutcome::Answered(if *address == ip(3) { MS(150) } else { MS(50) });
            go(&mut balancer, *address, outcome, now);
        }
    }
    assert!(balancer.known.get(&ip(3)).unwrap().aside.is_some());
    let mut seconds = 0;
    while balancer.known.get(&ip(3)).unwrap().aside.is_some() && seconds < 60 {
        for _ in 0..50 {
            now += MS(20);
            call(&mut balancer, &all, now, |_| {
                AddressOutcome::Answered(MS(50))
            });
        }
        seconds += 1;
    }
    assert!(seconds <= 10, "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn address_that_fails_more_than_its_siblings_is_set_aside() {
    let (now, all) = (start(), given(&[1, 2, 3]));
    let mut balancer = balancer(&all, now);
    for round in 0..60 {
        for address in all.iter() {
            let fails = *address == ip(2) && round % 3 == 0;
            let outcome = if fails {
                AddressOutcome::Failed
            } else {
                AddressOutcome::Answered(MS(5))
            };
            go(&mut balancer, *address, outcome, now);
        }
    }
    assert!(balancer.known.get(&ip(2)).unwrap().aside.is_some());
    assert!(
        balancer.known.get(&ip(1)).unwrap().aside.is_none()
            && balancer.known.get(&ip(3)).unwrap().aside.is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn at_most_a_third_is_set_aside_and_never_the_last() {
    let now = start();
    for (addresses, most) in [(1, 0), (2, 1), (3, 1), (6, 2)] {
        let all: Arc<[IpAddr]> = (1..=addresses).map(ip).collect();
        let mut balancer = balancer(&all, now);
        for _ in 0..100 {
            for (at, address) in all.iter().enumerate() {
                go(
                    &mut balancer,
                    *address,
                    AddressOutcome::Answered(MS(10 << (2 * at))),
                    now,
                );
            }
        }
        let aside = balancer
            .known
            .values()
            .filter(|health| health.aside.is_some());
        assert!(aside.count() <= most, "{addresses}");
    }
}

#[tokio::test(start_paused = true)]
async fn if_every_address_refuses_the_earliest_one_due_comes_first() {
    let (now, all) = (start(), given(&[1, 2]));
    let mut balancer = balancer(&all, now);
    let later = now + SECS(1);
    for (address, at) in [(ip(1), now), (ip(1), later), (ip(2), later)] {
        go(&mut balancer, address, AddressOutcome::Unreachable, at);
    }
    assert_eq!(balancer.order(&all, 8, later), [ip(2), ip(1)]);
}

#[test]
fn connect_timeout_is_divided_among_the_addresses() {
    assert_eq!(share(SECS(3), 1), SECS(3));
    assert_eq!(share(SECS(3), 3), SECS(1));
    assert_eq!(share(SECS(3), 100), MS(300));
    assert_eq!(share(MS(10), 100), MS(10));
}

#[tokio::test(start_paused = true)]
async fn connects_that_fail_together_count_once() {
    let (now, all) = (start(), given(&[1, 2]));
    let mut balancer = balancer(&all, now);
    let together: Vec<_> = (0..20)
        .map(|_| balancer.begin(ip(1), now).unwrap())
        .collect();
    for entry in together {
        balancer.end(entry, AddressOutcome::Unreachable, now + MS(1));
    }
    assert_eq!(balancer.order(&all, 8, now + SECS(1))[0], ip(2));
    let later = now + MS(1_001);
    assert_eq!(balancer.order(&all, 8, later)[0], ip(1), "after one second");
}

#[tokio::test(start_paused = true)]
async fn rotating_name_cannot_fill_the_memory() {
    let now = start();
    let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
    let first: Arc<[IpAddr]> = [address(0)].into();
    let mut balancer = balancer(&first, now);
    let mut gone = 0;
    for round in 1..100_u32 {
        // The first address comes and goes, so the name rotates.
        let rotating = (round % 2 == 0).then_some(address(0));
        let others = (0..128).map(|n| address(round * 1_000 + n));
        let answer: Vec<_> = rotating.into_iter().chain(others).collect();
        gone += balancer
            .update(&whole(&answer), now + MS(u64::from(round)))
            .len();
        assert!(balancer.addresses().len() <= MOST_KNOWN, "{round}");
        assert!(answer.iter().all(|address| balancer.knows(*address)));
    }
    assert!(gone > 10_000, "their connections are closed: {gone}");
}
