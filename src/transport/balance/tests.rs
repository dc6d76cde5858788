use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

fn ip(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

fn given(addresses: &[u8]) -> Arc<[IpAddr]> {
    addresses.iter().map(|last| ip(*last)).collect()
}

/// A DNS answer of a new generation.
fn whole(addresses: &[IpAddr]) -> ResolvedAddresses<'_> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    ResolvedAddresses {
        addresses,
        generation: NEXT.fetch_add(1, Ordering::Relaxed),
        ttl: SECS(5),
        speaks_for: (true, true),
    }
}

fn start() -> Instant {
    Instant::now()
}

/// A book that knows these.
fn book(addresses: &Arc<[IpAddr]>, now: Instant) -> Balancer {
    let mut book = Balancer::default();
    assert!(book.update(&whole(addresses), now).is_empty());
    book
}

/// A request to an address, and how it fared.
fn go(book: &mut Balancer, address: IpAddr, fared: AddressOutcome, now: Instant) {
    let entry = book.begin(address, now).unwrap();
    book.end(entry, fared, now);
}

/// A request to the address that comes first; where it went.
fn call(
    book: &mut Balancer,
    addresses: &[IpAddr],
    now: Instant,
    fares: impl Fn(IpAddr) -> AddressOutcome,
) -> IpAddr {
    let first = book.order(addresses, 8, now)[0];
    go(book, first, fares(first), now);
    first
}

#[tokio::test(start_paused = true)]
async fn fewest_in_flight_is_chosen_and_the_warm_one_on_a_tie() {
    let (now, all) = (start(), given(&[1, 2, 3]));
    let mut book = book(&all, now);
    assert_eq!(book.order(&all, 8, now), *all, "the order of DNS");
    go(&mut book, ip(2), AddressOutcome::Answered(MS(1)), now);
    assert_eq!(book.order(&all, 8, now)[0], ip(2), "warm");
    book.begin(ip(2), now);
    assert_eq!(book.order(&all, 2, now), [ip(1), ip(3)], "one in flight");
}

#[tokio::test(start_paused = true)]
async fn address_absent_from_one_fresh_answer_is_gone() {
    let (now, old, new) = (start(), given(&[1, 2]), given(&[2, 3]));
    let mut book = book(&old, now);
    assert_eq!(book.update(&whole(&new), now), [ip(1)]);
    assert!(book.update(&whole(&new), now).is_empty(), "told once");
}

#[tokio::test(start_paused = true)]
async fn addresses_are_those_that_did_not_leave() {
    let now = start();
    let mut book = Balancer::default();
    for (second, (addresses, all)) in [
        (&[1, 2][..], &[1, 2][..]),
        (&[2, 1], &[1, 2]),
        (&[2], &[2]),
        (&[2, 3], &[2, 3]),
        // It comes back.
        (&[1, 2, 3], &[1, 2, 3]),
        // From now on the name turns through its addresses: one answer without it is not the end.
        (&[3], &[1, 2, 3]),
        (&[1, 3], &[1, 2, 3]),
    ]
    .into_iter()
    .enumerate()
    {
        let at = now + SECS(second as u64);
        book.update(&whole(&given(addresses)), at);
        let mut known = book.addresses();
        known.sort();
        assert_eq!(known, all.iter().map(|last| ip(*last)).collect::<Vec<_>>());
        assert_eq!(book.knows(ip(1)), all.contains(&1), "{second}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_to_an_address_that_left_says_nothing_about_the_one_that_came_back() {
    let (now, both, other) = (start(), given(&[1, 2]), given(&[2]));
    let mut book = book(&both, now);
    let long = book.begin(ip(1), now).unwrap();
    book.update(&whole(&other), now);
    book.update(&whole(&both), now);
    let short = book.begin(ip(1), now).unwrap();
    assert_eq!(book.order(&both, 8, now)[0], ip(2), "one is busy");
    book.end(long, AddressOutcome::Unreachable, now);
    assert_eq!(book.order(&both, 8, now)[0], ip(2), "and still is");
    book.end(short, AddressOutcome::Answered(MS(1)), now);
    assert_eq!(
        book.order(&both, 8, now)[0],
        ip(1),
        "warm, and it never refused"
    );
}

#[tokio::test(start_paused = true)]
async fn answer_makes_nothing_gone_of_which_it_does_not_speak() {
    let (now, old, new) = (start(), given(&[1, 2]), given(&[2]));
    for silent in [(false, false), (false, true)] {
        let mut book = book(&old, now);
        let mut answer = whole(&new);
        answer.speaks_for = silent;
        assert!(book.update(&answer, now).is_empty());
        // The same addresses again, now with authority.
        answer.speaks_for = (true, true);
        assert_eq!(book.update(&answer, now), [ip(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_that_come_back_are_gone_only_after_a_while() {
    let (now, one, two) = (start(), given(&[1]), given(&[2]));
    let mut book = book(&one, now);
    assert_eq!(book.update(&whole(&two), now + SECS(5)), [ip(1)]);
    // It comes back: the name turns through a set.
    assert!(book.update(&whole(&one), now + SECS(10)).is_empty());
    let three = given(&[3]);
    assert!(book.update(&whole(&three), now + SECS(15)).is_empty());
    assert!(book.update(&whole(&three), now + SECS(69)).is_empty());
    let mut gone = book.update(&whole(&three), now + SECS(75));
    gone.sort();
    assert_eq!(gone, [ip(1), ip(2)]);
}

#[tokio::test(start_paused = true)]
async fn address_that_swallows_is_tried_last_for_a_while_by_everyone() {
    let (now, all) = (start(), given(&[1, 2]));
    let mut book = book(&all, now);
    go(&mut book, ip(1), AddressOutcome::Unreachable, now);
    assert_eq!(book.order(&all, 8, now), [ip(2), ip(1)]);
    let soon = now + MS(999);
    assert_eq!(book.order(&all, 8, soon)[0], ip(2));
    let later = now + SECS(1);
    assert_eq!(
        book.order(&all, 8, later)[0],
        ip(1),
        "and then again: it is the warm one"
    );
    go(&mut book, ip(1), AddressOutcome::Unreachable, later);
    assert_eq!(
        book.order(&all, 8, later + MS(1_999))[0],
        ip(2),
        "twice as long"
    );
}

#[tokio::test(start_paused = true)]
async fn slow_address_is_set_aside_and_gets_trials_only() {
    let (start, all) = (start(), given(&[1, 2, 3]));
    let mut book = book(&all, start);
    let slow = |address| AddressOutcome::Answered(if address == ip(3) { MS(150) } else { MS(50) });
    // 100 requests a second, three at a time.
    let mut after_five_seconds = (0, 0);
    for round in 0..1_000 {
        let now = start + MS(30) * round;
        let mut under_way = Vec::new();
        for _ in 0..3 {
            let address = book.order(&all, 8, now)[0];
            under_way.push((address, book.begin(address, now).unwrap()));
        }
        for (address, entry) in under_way {
            book.end(entry, slow(address), now);
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
async fn healed_address_comes_back_after_a_few_good_trials() {
    let (mut now, all) = (start(), given(&[1, 2, 3]));
    let mut book = book(&all, now);
    for _ in 0..20 {
        for address in all.iter() {
            let fared = AddressOutcome::Answered(if *address == ip(3) { MS(150) } else { MS(50) });
            go(&mut book, *address, fared, now);
        }
    }
    assert!(book.known[&ip(3)].aside.is_some());
    let mut seconds = 0;
    while book.known[&ip(3)].aside.is_some() && seconds < 60 {
        for _ in 0..50 {
            now += MS(20);
            call(&mut book, &all, now, |_| AddressOutcome::Answered(MS(50)));
        }
        seconds += 1;
    }
    assert!(seconds <= 10, "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn address_that_fails_more_than_its_siblings_is_set_aside() {
    let (now, all) = (start(), given(&[1, 2, 3]));
    let mut book = book(&all, now);
    for round in 0..60 {
        for address in all.iter() {
            let fails = *address == ip(2) && round % 3 == 0;
            let fared = if fails {
                AddressOutcome::Failed
            } else {
                AddressOutcome::Answered(MS(5))
            };
            go(&mut book, *address, fared, now);
        }
    }
    assert!(book.known[&ip(2)].aside.is_some());
    assert!(book.known[&ip(1)].aside.is_none() && book.known[&ip(3)].aside.is_none());
}

#[tokio::test(start_paused = true)]
async fn at_most_a_third_is_set_aside_and_never_the_last() {
    let now = start();
    for (addresses, most) in [(1, 0), (2, 1), (3, 1), (6, 2)] {
        let all: Arc<[IpAddr]> = (1..=addresses).map(ip).collect();
        let mut book = book(&all, now);
        for _ in 0..100 {
            for (at, address) in all.iter().enumerate() {
                go(
                    &mut book,
                    *address,
                    AddressOutcome::Answered(MS(10 << (2 * at))),
                    now,
                );
            }
        }
        let aside = book.known.values().filter(|health| health.aside.is_some());
        assert!(aside.count() <= most, "{addresses}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_every_address_refuses_the_one_that_is_back_first_comes_first() {
    let (now, all) = (start(), given(&[1, 2]));
    let mut book = book(&all, now);
    for (address, times) in [(ip(1), 2), (ip(2), 1)] {
        for _ in 0..times {
            go(&mut book, address, AddressOutcome::Unreachable, now);
        }
    }
    assert_eq!(book.order(&all, 8, now), [ip(2), ip(1)]);
}

#[test]
fn connect_limit_is_shared_among_the_addresses() {
    assert_eq!(share(SECS(3), 1), SECS(3));
    assert_eq!(share(SECS(3), 3), SECS(1));
    assert_eq!(share(SECS(3), 100), MS(300));
    assert_eq!(share(MS(10), 100), MS(10));
}
