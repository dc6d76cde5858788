//! The destinations: for each one the balancer of its addresses, and a pool of connections to each address.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::Uri;
use tokio::runtime;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::balance::{AddressOutcome, Balancer, RequestInFlight, ResolvedAddresses};
use super::pool::Pool;
use super::pool::bounds::Bounds;
use super::recent::{recent, remember};
use super::refresh::Name;
use super::resolve::given;
use super::routing::{Identity, Routing};
use super::sorted::SortedMap;
use crate::affinity::{Affinity, Session};
use crate::clock;
#[cfg(feature = "otel")]
use crate::destination::Destination;
use crate::destination::Origin;
use crate::dns::NameHold;
use crate::hop::Stage;
use crate::record::{Addresses, Tracker};
use crate::registry::{self, Registry};

/// The destinations in use, bounded in number.
pub(super) struct DestinationPools {
    /// The number of HTTP/1 connections of one destination that may be in use.
    most_leases: usize,
    bounds: Bounds,
    known: Registry<DestinationPool>,
}

impl DestinationPools {
    pub(super) fn new(most_leases: usize, bounds: Bounds) -> Self {
        let most = bounds.most().saturating_add(MOST_UNCONNECTED);
        Self {
            most_leases: most_leases.min(Semaphore::MAX_PERMITS),
            bounds,
            known: Registry::bounded(most, clock::now()),
        }
    }

    /// Returns the destination of the latest requests of this thread, if this request goes there, too.
    pub(super) fn recent(&self, uri: &Uri, now: Instant) -> Option<Arc<DestinationPool>> {
        recent(uri, now).filter(|recent| recent.bounds.is(&self.bounds))
    }

    /// Returns the destination of a request. If it is not known yet, `routing` computes its route.
    ///
    /// # Errors
    ///
    /// Fails if `routing` fails. Then nothing is kept.
    pub(super) fn of<E>(
        &self,
        uri: &Uri,
        now: Instant,
        routing: impl FnOnce() -> Result<Routing, E>,
    ) -> Result<Arc<DestinationPool>, E> {
        let destination = self.lookup(uri, now, routing)?;
        remember(&destination, uri, now);
        Ok(destination)
    }

    fn lookup<E>(
        &self,
        uri: &Uri,
        now: Instant,
        routing: impl FnOnce() -> Result<Routing, E>,
    ) -> Result<Arc<DestinationPool>, E> {
        let origin = Origin::of(uri);
        let known = origin.as_ref().map(|origin| self.known.get(origin, now));
        if let Some(Some(known)) = known {
            return Ok(known);
        }
        let fresh = DestinationPool::new(routing()?, self.most_leases, self.bounds.clone());
        Ok(match origin {
            Some(origin) => self.known.get_or_keep(origin.to_destination(), fresh, now),
            None => Arc::new(fresh),
        })
    }

    /// Closes the idle connection that was used least recently, of any destination.
    pub(super) fn close_idlest(&self) {
        self.bounds.close_idlest();
    }

    /// Returns how many connections to each destination carry requests, and how many are idle.
    #[cfg(feature = "otel")]
    pub(super) fn connections(&self) -> Vec<(Destination, [u64; 2])> {
        self.known.each(|name, destination| {
            let inside = destination.inside();
            let states = inside.pools().map(|pool| pool.states());
            let sum = states.fold([0; 2], |sum, [active, idle]| {
                [sum[0] + active, sum[1] + idle]
            });
            (name.clone(), sum)
        })
    }
}

impl fmt::Debug for DestinationPools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.known.each(|name, _| name.to_string());
        f.debug_set().entries(names).finish()
    }
}

/// One destination.
pub(super) struct DestinationPool {
    pub(super) routing: Routing,
    inside: Mutex<PoolsInner>,
    bounds: Bounds,
    pub(super) leases: Arc<Semaphore>,
    /// Makes the resolver keep the name.
    hold: OnceLock<NameHold>,
    /// `None` if the URL holds an address.
    name: OnceLock<Box<Name>>,
}

#[derive(Default)]
struct PoolsInner {
    balancer: Balancer,
    /// `None` stands for the transport's unix socket.
    pools: SortedMap<Option<IpAddr>, Pools>,
}

/// A connection belongs to the runtime that its task runs on.
type Owner = (Identity, runtime::Id);
/// The connections to one address, or to the transport's unix socket.
type Pools = Vec<(Owner, Arc<Pool>)>;

impl DestinationPool {
    fn new(routing: Routing, most_leases: usize, bounds: Bounds) -> Self {
        Self {
            routing,
            inside: Mutex::default(),
            bounds,
            leases: Arc::new(Semaphore::new(most_leases)),
            hold: OnceLock::new(),
            name: OnceLock::new(),
        }
    }

    /// Returns the addresses to try, in order. Closes the connections to addresses that have left DNS.
    pub(super) fn order(
        &self,
        session: Option<&Session>,
        (given, most): (&ResolvedAddresses<'_>, usize),
        now: Instant,
    ) -> Vec<IpAddr> {
        let mut inside = self.inside();
        let gone = inside.update(given, now);
        let order = match session {
            None => inside.balancer.order(given.addresses, most, now),
            Some(session) => {
                (inside.balancer).order_of_session(session, (given.addresses, most), now)
            }
        };
        drop(inside);
        gone.iter().for_each(|pool| pool.close());
        order
    }

    /// Records that a request of a session goes to an address: see [`Balancer::keep`].
    pub(super) fn keep(&self, affinity: Affinity, address: IpAddr, now: Instant) -> bool {
        self.inside().balancer.keep(affinity, address, now)
    }

    /// Takes over a DNS answer that no request has asked for.
    fn take_in(&self, given: &ResolvedAddresses<'_>) {
        let gone = self.inside().update(given, clock::now());
        gone.iter().for_each(|pool| pool.close());
    }

    /// Returns the pool of an address, or of the transport's unix socket.
    pub(super) fn pool(&self, address: Option<IpAddr>, identity: Identity) -> Arc<Pool> {
        let owner = (identity, runtime::Handle::current().id());
        let mut inside = self.inside();
        let mut pools = inside.pools.get(&address).into_iter().flatten();
        if let Some((_, pool)) = pools.find(|(of, _)| *of == owner) {
            return Arc::clone(pool);
        }
        let fresh = Pool::new(self.bounds.clone());
        if address.is_some_and(|address| !inside.balancer.knows(address)) {
            // The address left DNS while others were tried: the pool serves this one request.
            return fresh;
        }
        if inside.pools().count() >= MOST_POOLS {
            inside.pools.retain(|pools| {
                pools.retain(|(_, pool)| pool.open() > 0);
                !pools.is_empty()
            });
        }
        let pools = inside
            .pools
            .get_or_insert_with(address, || Vec::with_capacity(1));
        pools.push((owner, Arc::clone(&fresh)));
        fresh
    }

    /// Makes the resolver keep the name of this destination, as long as the destination exists.
    pub(super) fn hold(&self, hold: impl FnOnce() -> Option<NameHold>) {
        if self.hold.get().is_none()
            && let Some(hold) = hold()
        {
            // Another request may have set it first: its hold is equivalent.
            let _ = self.hold.set(hold);
        }
    }

    /// Sets how its name is looked up.
    pub(super) fn named(&self, name: impl FnOnce() -> Name) {
        self.name.get_or_init(|| Box::new(name()));
    }

    /// Begins a request to an address. The returned value reports the outcome when it is dropped.
    pub(super) fn begin(
        self: &Arc<Self>,
        (address, now): (IpAddr, Instant),
        tracker: &Arc<Tracker>,
    ) -> AddressVisit {
        let entry = self.inside().balancer.begin(address, now);
        AddressVisit {
            destination: Arc::clone(self),
            entry,
            tracker: Arc::clone(tracker),
            outcome: None,
        }
    }

    /// Does not use connections to an address again that existed at `used`.
    pub(super) fn forget(&self, address: IpAddr, used: Instant) {
        let inside = self.inside();
        let pools = inside.pools.get(&Some(address)).cloned();
        drop(inside);
        let pools = pools.iter().flatten();
        pools.for_each(|(_, pool)| pool.close_before(Some(used)));
    }

    fn inside(&self) -> MutexGuard<'_, PoolsInner> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolsInner {
    /// Takes over a DNS answer. Returns the pools of the addresses that have left DNS. The caller closes them without
    /// the lock.
    fn update(&mut self, given: &ResolvedAddresses<'_>, now: Instant) -> Vec<Arc<Pool>> {
        let gone = self.balancer.update(given, now);
        let pools = gone
            .into_iter()
            .filter_map(|gone| self.pools.remove(&Some(gone)));
        pools.flatten().map(|(_, pool)| pool).collect()
    }

    fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.values().flatten().map(|(_, pool)| pool)
    }
}

impl Addresses for DestinationPool {
    fn knows(&self, address: IpAddr) -> bool {
        self.inside().balancer.knows(address)
    }

    fn known(&self) -> Vec<IpAddr> {
        self.inside().balancer.addresses()
    }

    fn refresh(self: Arc<Self>) {
        let Some(name) = self.name.get() else {
            return;
        };
        let destination = Arc::downgrade(&self);
        name.lookup(move |answer| {
            if let Some(destination) = destination.upgrade() {
                destination.take_in(&given(answer));
            }
        });
    }
}

impl fmt::Debug for DestinationPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DestinationPool");
        shown
            .field("balancer", &self.inside().balancer)
            .finish_non_exhaustive()
    }
}

impl registry::Entry for DestinationPool {
    /// Pinned while it has a connection. Without one, little is lost: the next request computes the route again.
    fn is_pinned(&self, _now: Instant) -> bool {
        let inside = self.inside();
        inside.pools().any(|pool| pool.open() > 0)
    }
}

impl Drop for DestinationPool {
    fn drop(&mut self) {
        let inside = std::mem::take(&mut *self.inside());
        inside.pools().for_each(|pool| pool.close());
    }
}

/// A request in flight to an address.
pub(super) struct AddressVisit {
    destination: Arc<DestinationPool>,
    entry: Option<RequestInFlight>,
    tracker: Arc<Tracker>,
    /// Its outcome, and when that was known.
    outcome: Option<(AddressOutcome, Instant)>,
}

impl AddressVisit {
    pub(super) fn finish(mut self, outcome: AddressOutcome, now: Instant) {
        self.outcome = Some((outcome, now));
    }
}

impl Drop for AddressVisit {
    fn drop(&mut self) {
        let (outcome, now) = self.outcome.unwrap_or_else(|| {
            // Given up and not ended: a timeout expired. If the caller goes away, it ends the attempt first.
            let expired = self.tracker.is_given_up() && self.tracker.ended().is_none();
            let outcome = match self.tracker.open() {
                _ if !expired => AddressOutcome::Unknown,
                _ if self.tracker.facts(|facts| facts.is_queued) => AddressOutcome::Unknown,
                Some(Stage::Connect) => AddressOutcome::Unreachable,
                _ => AddressOutcome::Failed,
            };
            (outcome, clock::now())
        });
        let Some(entry) = self.entry.take() else {
            return;
        };
        let address = entry.address;
        let set_aside = self.destination.inside().balancer.end(entry, outcome, now);
        if set_aside {
            self.tracker.spans().set_aside(address);
        }
    }
}

/// The number of destinations without a connection. They keep session tickets and the health of addresses, which a
/// destination of few calls hardly uses.
const MOST_UNCONNECTED: usize = 1_024;
/// The number of pools of one destination above which those without a connection are removed.
const MOST_POOLS: usize = 64;

#[cfg(test)]
#[path = "destinations_tests.rs"]
mod tests;
