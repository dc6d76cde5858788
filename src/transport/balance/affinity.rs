//! Keeps the calls of a session on one address. Pure: time is an argument.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Balancer;
use crate::affinity::{Affinity, Session};

impl Balancer {
    /// Returns the addresses in the order of this session: by rank, and those that fail last. Those at which the same
    /// call has failed come after all others. An address that is only slow stays in its place: the promise to the
    /// session is worth more than the time.
    pub(crate) fn order_of_session(
        &mut self,
        session: &Session,
        (addresses, most): (&[IpAddr], usize),
        now: Instant,
    ) -> Vec<IpAddr> {
        let mut order = addresses.to_vec();
        order.sort_by_key(|address| Reverse(session.affinity.rank(*address)));
        let has_failed = |address: &IpAddr| session.failed.contains(address);
        let own = order.first().filter(|own| !has_failed(own));
        let own = own.and_then(|own| self.known.get_mut(own));
        let is_trial = own.is_some_and(|own| own.is_failing() && own.try_again(now));
        let rest = usize::from(is_trial).min(order.len());
        order[rest..].sort_by_key(|address| {
            let health = self.known.get(address);
            let refuses = health.and_then(|health| health.refuses_until(now));
            let is_failing = health.is_some_and(|health| health.is_failing());
            (has_failed(address), refuses, is_failing)
        });
        order.truncate(most);
        order
    }

    /// Notes that a request of this session goes to `address`. Returns whether the session may read older data than
    /// before. This is the case if the address is not the session's own, or if the session's own one has come back in
    /// the last minute.
    pub(crate) fn keep(&mut self, affinity: Affinity, address: IpAddr, now: Instant) -> bool {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < UNSETTLED;
        let left = self.left.iter().filter(|(_, at)| is_recent(**at));
        let all = self.known.keys().chain(left.map(|(address, _)| address));
        let own = all.copied().max_by_key(|address| affinity.rank(*address));
        match own.filter(|own| *own != address) {
            Some(own) => {
                if let Some(health) = self.known.get_mut(&own) {
                    health.missed = Some(now);
                }
                true
            }
            None => {
                let missed = self.known.get(&address).and_then(|health| health.missed);
                missed.is_some_and(is_recent)
            }
        }
    }
}

/// Replicas differ for at most this long, as far as a client can guess.
const UNSETTLED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::tests::{SECS, balancer, given, go, ip, start, whole};
    use super::super::{AddressOutcome, MOST_LEFT};
    use super::*;

    fn session(number: u32) -> Affinity {
        Affinity::new(format!("user-{number}").as_bytes())
    }

    /// The address that a call of a session goes to.
    fn first(
        book: &mut Balancer,
        affinity: Affinity,
        addresses: &[IpAddr],
        now: Instant,
    ) -> IpAddr {
        book.order_of_session(&Session::new(affinity), (addresses, 8), now)[0]
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_share_the_addresses_evenly_and_one_that_goes_moves_only_its_own() {
        let (now, all) = (start(), given(&[1, 2, 3]));
        let mut book = balancer(&all, now);
        let at = |book: &mut Balancer, addresses: &[IpAddr]| -> Vec<_> {
            let sessions = (0..1_000).map(session);
            sessions
                .map(|session| first(book, session, addresses, now))
                .collect()
        };
        let before = at(&mut book, &all);
        assert_eq!(before, at(&mut book, &all), "always the same");
        let turned: Vec<_> = all.iter().rev().copied().collect();
        assert_eq!(before, at(&mut book, &turned), "in any order of DNS");
        let mut shares = HashMap::new();
        for address in &before {
            *shares.entry(*address).or_insert(0) += 1;
        }
        for share in shares.values() {
            assert!((283..=383).contains(share), "{shares:?}");
        }
        let after = at(&mut book, &given(&[1, 2]));
        for (before, after) in before.iter().zip(after) {
            assert!(*before == ip(3) || *before == after);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn session_goes_to_its_next_address_while_its_own_refuses_and_back() {
        let (now, all) = (start(), given(&[1, 2, 3]));
        let mut book = balancer(&all, now);
        let affinity = session(7);
        let order = book.order_of_session(&Session::new(affinity), (&all, 8), now);
        assert!(!book.keep(affinity, order[0], now));
        go(&mut book, order[0], AddressOutcome::Unreachable, now);
        let moved = book.order_of_session(&Session::new(affinity), (&all, 8), now);
        assert_eq!(moved, [order[1], order[2], order[0]]);
        assert!(book.keep(affinity, moved[0], now));
        let later = now + SECS(1);
        assert_eq!(
            book.order_of_session(&Session::new(affinity), (&all, 8), later),
            order
        );
        assert!(book.keep(affinity, order[0], later), "it may be behind");
        assert!(!book.keep(affinity, order[0], now + UNSETTLED));
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_failed_at_its_address_goes_to_the_next_one_in_the_order_of_its_key() {
        let (now, all) = (start(), given(&[1, 2, 3]));
        let mut book = balancer(&all, now);
        let mut call = Session::new(session(7));
        let order = book.order_of_session(&call, (&all, 8), now);
        call.failed = vec![order[0]];
        let next = book.order_of_session(&call, (&all, 8), now);
        assert_eq!(next, [order[1], order[2], order[0]]);
        call.failed = order.clone();
        assert_eq!(book.order_of_session(&call, (&all, 8), now), order);
        let other = Session::new(session(7));
        assert_eq!(book.order_of_session(&other, (&all, 8), now), order);
    }

    #[tokio::test(start_paused = true)]
    async fn session_stays_on_a_slow_address_and_leaves_a_failing_one() {
        for (bad, stays) in [
            (AddressOutcome::Answered(SECS(1)), true),
            (AddressOutcome::Failed, false),
        ] {
            let (now, all) = (start(), given(&[1, 2, 3]));
            let mut book = balancer(&all, now);
            let affinity = session(7);
            let own = first(&mut book, affinity, &all, now);
            for _ in 0..20 {
                for address in all.iter() {
                    let good = AddressOutcome::Answered(Duration::from_millis(5));
                    let fared = if *address == own { bad } else { good };
                    go(&mut book, *address, fared, now);
                }
            }
            assert!(book.known.get(&own).unwrap().aside.is_some(), "{bad:?}");
            let next = first(&mut book, affinity, &all, now);
            assert_eq!(next == own, stays, "{bad:?}");
            // Calls of sessions try the failing address, too: there may be no others.
            let tries = (0..200).map(|second| {
                let now = now + SECS(second);
                first(&mut book, affinity, &all, now) == own
            });
            let tries = tries.filter(|is_own| *is_own).count();
            assert_eq!(tries, if stays { 200 } else { 10 }, "{bad:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn address_that_leaves_dns_is_missed_for_a_minute() {
        let (now, all) = (start(), given(&[1, 2, 3]));
        let mut book = balancer(&all, now);
        let affinity = session(7);
        let order = book.order_of_session(&Session::new(affinity), (&all, 8), now);
        let rest: Vec<_> = order[1..].to_vec();
        assert_eq!(book.update(&whole(&rest), now), [order[0]]);
        assert_eq!(first(&mut book, affinity, &rest, now), order[1]);
        assert!(book.keep(affinity, order[1], now));
        assert!(!book.keep(affinity, order[1], now + UNSETTLED), "settled");
        book.update(&whole(&all), now + UNSETTLED);
        let back = now + UNSETTLED;
        assert!(book.keep(affinity, order[0], back), "it may be behind");
        assert!(!book.keep(affinity, order[0], back + UNSETTLED));
        assert!(book.left.len() <= MOST_LEFT);
    }

    #[tokio::test(start_paused = true)]
    async fn order_has_at_most_so_many_addresses() {
        let (now, all) = (start(), given(&[1, 2, 3]));
        let mut book = balancer(&all, now);
        assert_eq!(
            book.order_of_session(&Session::new(session(7)), (&all, 2), now)
                .len(),
            2
        );
        assert_eq!(
            book.order_of_session(&Session::new(session(7)), (&[], 2), now),
            Vec::<IpAddr>::new()
        );
    }
}
