//! The addresses of a destination: chooses the next one, and notices those that left DNS. Pure: time is an argument.
//!
//! ```text
//!  current DNS answer ──┬─ healthy: fewest requests in flight; on a tie, one with an open connection
//!                       ├─ set aside: much worse than its siblings; gets trials, and requests if all others fail
//!                       └─ refusing: recent connects to it failed; tried last
//!  earlier answers ──────── gone: not chosen again, its connections are closed
//! ```

mod affinity;
mod health;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::health::AddressOutcome;
use self::health::{AddressHealth, Siblings, Standing};
use super::sorted::SortedMap;

/// The addresses of one destination, and their state.
#[derive(Debug, Default)]
pub(crate) struct Balancer {
    known: SortedMap<IpAddr, AddressHealth>,
    /// The number of entries made so far. An address that comes back gets a new entry.
    entries: u64,
    /// The generation of the last DNS answer, and whether it was authoritative. Most calls have the same answer.
    current: Option<(u64, bool)>,
    /// Until when the name counts as rotating: an address came back soon after it had left DNS. A CDN that rotates a
    /// large set is an example. A failback days later is not.
    rotates_until: Option<Instant>,
    /// When the first of the addresses that left DNS, and are still kept, is removed.
    next_removal: Option<Instant>,
    /// The addresses that left DNS last, to notice when they come back.
    left: BTreeMap<IpAddr, Instant>,
}

/// The part of a DNS answer that matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResolvedAddresses<'a> {
    pub(crate) addresses: &'a [IpAddr],
    /// Answers with the same generation have the same addresses.
    pub(crate) generation: u64,
    pub(crate) ttl: Duration,
    /// The families for which the DNS result is complete: an absent address of such a family has left DNS. Neither, if
    /// the result is stale.
    pub(crate) speaks_for: (V4, V6),
}

type V4 = bool;
type V6 = bool;

impl ResolvedAddresses<'_> {
    fn is_authoritative_for(&self, address: IpAddr) -> bool {
        if address.is_ipv4() {
            self.speaks_for.0
        } else {
            self.speaks_for.1
        }
    }
}

/// A request in flight to an address.
#[derive(Debug)]
pub(crate) struct RequestInFlight {
    pub(crate) address: IpAddr,
    number: u64,
}

impl Balancer {
    /// Takes over a DNS answer. Returns the addresses that have left DNS: the caller drops their connections.
    pub(crate) fn update(&mut self, given: &ResolvedAddresses<'_>, now: Instant) -> Vec<IpAddr> {
        let current = Some((given.generation, given.speaks_for == (true, true)));
        if self.current == current && self.next_removal.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let keep = given.ttl.saturating_mul(3).max(ROTATION);
        let mut rotates = false;
        for address in given.addresses.iter() {
            let left = self.left.remove(address);
            rotates |= left.is_some_and(|at| now.saturating_duration_since(at) < keep);
            let entries = &mut self.entries;
            let health = self.known.get_or_insert_with(*address, || {
                *entries += 1;
                AddressHealth::new(*entries)
            });
            rotates |= health.absent_until.take().is_some_and(|until| now < until);
            if left.is_some() {
                health.missed = Some(now);
            }
        }
        self.current = current;
        if rotates {
            self.rotates_until = Some(now + keep);
        }
        let is_rotating = self.rotates_until.is_some_and(|until| now < until);
        let kept_until = if is_rotating { now + keep } else { now };
        let mut gone = Vec::new();
        for (address, health) in self.known.iter_mut() {
            if given.addresses.contains(address) || !given.is_authoritative_for(*address) {
                continue;
            }
            if *health.absent_until.get_or_insert(kept_until) <= now {
                gone.push(*address);
            }
        }
        for address in &gone {
            self.forget(*address, now);
        }
        while self.known.len() > MOST_KNOWN {
            let absent = self.known.iter().filter_map(|(address, health)| {
                let until = health.absent_until?;
                Some((until, *address))
            });
            let Some((_, oldest)) = absent.min() else {
                break;
            };
            self.forget(oldest, now);
            gone.push(oldest);
        }
        let absent = self.known.values().filter_map(|health| health.absent_until);
        self.next_removal = absent.min();
        gone
    }

    fn forget(&mut self, address: IpAddr, now: Instant) {
        self.known.remove(&address);
        self.remember_leaving(address, now);
    }

    fn remember_leaving(&mut self, address: IpAddr, now: Instant) {
        if self.left.len() >= MOST_LEFT {
            let oldest = self.left.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.left.remove(&oldest);
            }
        }
        self.left.insert(address, now);
    }

    /// Returns the addresses in the order in which they are tried, at most `most`. [`begin`](Self::begin) counts the
    /// request to the first one.
    pub(crate) fn order(&mut self, addresses: &[IpAddr], most: usize, now: Instant) -> Vec<IpAddr> {
        if let [only] = addresses {
            return vec![*only];
        }
        let trial = addresses.iter().copied().find(|address| {
            let health = self.known.get_mut(address);
            health.is_some_and(|health| health.try_again(now))
        });
        let mut order: Vec<_> = addresses.iter().copied().enumerate().collect();
        order.sort_by_key(|(at, address)| {
            let health = self.known.get(address);
            let refuses = health.and_then(|health| health.refuses_until(now));
            let aside = health.is_some_and(|health| health.aside.is_some());
            let in_flight = health.map_or(0, |health| health.in_flight);
            let warm = health.and_then(|health| health.used);
            (
                Some(*address) != trial,
                refuses,
                aside,
                in_flight,
                std::cmp::Reverse(warm),
                *at,
            )
        });
        let order = order.into_iter().map(|(_, address)| address);
        order.take(most).collect()
    }

    /// Returns whether `address` still belongs to this destination.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.known.contains_key(&address)
    }

    /// Returns whether the address was known, and has left DNS lately.
    #[cfg(feature = "hyper-util")]
    pub(crate) fn has_left(&self, address: IpAddr) -> bool {
        self.left.contains_key(&address)
    }

    /// Returns the known addresses, in no order.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.known.keys().copied().collect()
    }

    /// Records that a request goes to `address`. Returns an entry for [`end`](Self::end), or `None` if the address is
    /// not known any more.
    pub(crate) fn begin(&mut self, address: IpAddr, now: Instant) -> Option<RequestInFlight> {
        let health = self.known.get_mut(&address)?;
        health.in_flight = health.in_flight.saturating_add(1);
        health.used = Some(now);
        let number = health.entry;
        Some(RequestInFlight { address, number })
    }

    /// Records the end of a request. If the address has left DNS since then, the result does not count for an address
    /// that came back. Returns true if the address is set aside because of it.
    pub(crate) fn end(
        &mut self,
        entry: RequestInFlight,
        outcome: AddressOutcome,
        now: Instant,
    ) -> bool {
        let health = self.known.get_mut(&entry.address);
        let Some(health) = health.filter(|health| health.entry == entry.number) else {
            return false;
        };
        health.in_flight = health.in_flight.saturating_sub(1);
        let is_aside = health.aside.is_some();
        if !is_aside {
            health.record(outcome, now);
            if !health.may_be_worse() {
                return false;
            }
        }
        let siblings = self.siblings(entry.address);
        let may_go = self.may_set_aside();
        let Some(health) = self.known.get_mut(&entry.address) else {
            return false;
        };
        if is_aside {
            health.tried(outcome, &siblings);
            return false;
        }
        match health.compare(&siblings).filter(|_| may_go) {
            Some(Standing::Worse { fails }) => {
                health.set_aside(fails, now);
                true
            }
            Some(Standing::AsGood) | None => false,
        }
    }

    /// Returns the medians of the other addresses that are not set aside.
    fn siblings(&self, address: IpAddr) -> Siblings {
        let others = || {
            let others = self
                .known
                .iter()
                .filter(move |(other, _)| **other != address);
            others.filter(|(_, health)| health.aside.is_none())
        };
        Siblings {
            latency: median(
                others()
                    .filter_map(|(_, health)| health.latency())
                    .collect(),
            ),
            failures: median(
                others()
                    .filter_map(|(_, health)| health.failures())
                    .collect(),
            )
            .unwrap_or(0.0),
        }
    }

    /// Returns whether another address may be set aside: at most a third of them, and never the last one.
    fn may_set_aside(&self) -> bool {
        let present = self.known.values().filter(|h| h.absent_until.is_none());
        let (all, aside) = present.fold((0, 0), |(all, aside), health| {
            (all + 1, aside + usize::from(health.aside.is_some()))
        });
        all > 1 && aside < (all / 3).max(1)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// Returns how long the next address may take to connect: an equal share of the time left. So an address that drops
/// SYNs does not use up the time of the others.
pub(crate) fn share(left: Duration, addresses: usize) -> Duration {
    let addresses = u32::try_from(addresses.max(1)).unwrap_or(u32::MAX);
    (left / addresses).max(LEAST_SHARE.min(left))
}

/// One round trip around half of the world.
const LEAST_SHARE: Duration = Duration::from_millis(300);
/// An address that comes back within this time shows that its name rotates. An absent address of such a name is kept
/// for this time. It is three TTLs, if that is more.
const ROTATION: Duration = Duration::from_secs(60);
/// More than the addresses that a rotating name shows within a minute.
const MOST_LEFT: usize = 256;
/// The bound of the addresses that are kept after they have left DNS, together with the current ones.
const MOST_KNOWN: usize = 512;

#[cfg(test)]
mod tests;
