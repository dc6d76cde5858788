//! Where requests go: for each destination a book of its addresses, and a pool of connections to each address.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustls::ClientConfig;
use tokio::runtime;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::book::{Book, Entry, Fared, Given};
use super::look_up::given;
use super::pool::Pool;
use super::pool::bounds::Bounds;
use super::refresh::Name;
use super::tls;
use crate::clock;
#[cfg(feature = "otel")]
use crate::destination::Destination;
use crate::destination::Origin;
use crate::dns::Hold;
use crate::hop::Stage;
use crate::record::{Addresses, Tracker};
use crate::registry::{self, Registry};

/// The destinations in use, bounded in number.
pub(super) struct Places {
    /// How many HTTP/1 connections of one destination may be in use.
    most_leases: usize,
    bounds: Bounds,
    known: Registry<Place>,
}

impl Places {
    pub(super) fn new(most_leases: usize, bounds: Bounds) -> Self {
        Self {
            most_leases: most_leases.min(Semaphore::MAX_PERMITS),
            bounds,
            known: Registry::bounded(MOST_PLACES, clock::now()),
        }
    }

    /// The place of a request. What has neither scheme nor host was refused before.
    pub(super) fn of(&self, uri: &http::Uri) -> Arc<Place> {
        let now = clock::now();
        let fresh = || Place::new(self.most_leases, self.bounds.clone());
        let Some(origin) = Origin::of(uri) else {
            return Arc::new(fresh());
        };
        self.known.get(&origin, now).unwrap_or_else(|| {
            let destination = origin.to_destination();
            self.known.get_or_keep(destination, fresh(), now)
        })
    }

    /// Closes the idle connection that was used least recently, of whatever destination.
    pub(super) fn close_idlest(&self) {
        let idle = self.known.each(|_, place| place.idlest());
        let idlest = idle.into_iter().flatten().min_by_key(|(since, _)| *since);
        if let Some((since, pool)) = idlest {
            pool.close_idlest(since);
        }
    }

    /// How many connections are open to each destination.
    #[cfg(feature = "otel")]
    pub(super) fn open_connections(&self) -> Vec<(Destination, u64)> {
        self.known.each(|destination, place| {
            let inside = place.inside();
            let open = inside.pools.values().map(|pool| pool.open() as u64).sum();
            (destination.clone(), open)
        })
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.known.each(|destination, _| destination.to_string());
        f.debug_set().entries(names).finish()
    }
}

/// One destination.
pub(super) struct Place {
    inside: Mutex<Inside>,
    bounds: Bounds,
    pub(super) leases: Arc<Semaphore>,
    tls: OnceLock<Arc<ClientConfig>>,
    /// The same without the client's certificate.
    anonymous: OnceLock<Arc<ClientConfig>>,
    /// Has the resolver keep the name.
    hold: OnceLock<Hold>,
    /// None where an address stands in the URL.
    name: OnceLock<Name>,
}

/// Whether a connection may show the client's certificate. None is used for the other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    Shown,
    Withheld,
}

#[derive(Default)]
struct Inside {
    book: Book,
    pools: HashMap<Key, Arc<Pool>>,
}

/// Where connections lead: an address, or the transport's unix socket. A connection belongs to the runtime that its
/// task runs on.
type Key = (Option<IpAddr>, Identity, runtime::Id);

impl Place {
    fn new(most_leases: usize, bounds: Bounds) -> Self {
        Self {
            inside: Mutex::default(),
            bounds,
            leases: Arc::new(Semaphore::new(most_leases)),
            tls: OnceLock::new(),
            hold: OnceLock::new(),
            anonymous: OnceLock::new(),
            name: OnceLock::new(),
        }
    }

    /// The TLS configuration of the destination, which keeps its session tickets.
    pub(super) fn tls(&self, config: &ClientConfig, identity: Identity) -> &Arc<ClientConfig> {
        let kept = match identity {
            Identity::Shown => &self.tls,
            Identity::Withheld => &self.anonymous,
        };
        kept.get_or_init(|| Arc::new(tls::with_tickets(config)))
    }

    /// The addresses to be tried, in order. The connections to those that are gone end.
    pub(super) fn order(&self, given: &Given<'_>, most: usize) -> Vec<IpAddr> {
        let now = clock::now();
        let mut inside = self.inside();
        let gone = inside.update(given, now);
        let order = inside.book.order(given.addresses, most, now);
        drop(inside);
        gone.iter().for_each(|pool| pool.close());
        order
    }

    /// Takes in an answer on behalf of no request.
    fn take_in(&self, given: &Given<'_>) {
        let gone = self.inside().update(given, clock::now());
        gone.iter().for_each(|pool| pool.close());
    }

    /// The pool of an address, or of the transport's unix socket.
    pub(super) fn pool(&self, address: Option<IpAddr>, identity: Identity) -> Arc<Pool> {
        let key = (address, identity, runtime::Handle::current().id());
        let mut inside = self.inside();
        if let Some(pool) = inside.pools.get(&key) {
            return Arc::clone(pool);
        }
        let fresh = Arc::new(Pool::new(self.bounds.clone()));
        if address.is_some_and(|address| !inside.book.knows(address)) {
            // It left while its siblings were tried: it serves this one request.
            return fresh;
        }
        if inside.pools.len() >= MOST_POOLS {
            inside.pools.retain(|_, pool| pool.open() > 0);
        }
        inside.pools.insert(key, Arc::clone(&fresh));
        fresh
    }

    /// Has the resolver keep the name of this destination, as long as the destination lives.
    pub(super) fn hold(&self, hold: impl FnOnce() -> Option<Hold>) {
        if self.hold.get().is_none()
            && let Some(hold) = hold()
        {
            // Another request may have been quicker: its hold is as good.
            let _ = self.hold.set(hold);
        }
    }

    /// Learns how its name is looked up.
    pub(super) fn named(&self, name: impl FnOnce() -> Name) {
        self.name.get_or_init(name);
    }

    /// A request goes to an address; what comes back tells how it fared when it is dropped.
    pub(super) fn begin(self: &Arc<Self>, address: IpAddr, tracker: &Arc<Tracker>) -> Visit {
        let entry = self.inside().book.begin(address, clock::now());
        Visit {
            place: Arc::clone(self),
            entry,
            tracker: Arc::clone(tracker),
            fared: None,
        }
    }

    /// Does not use the connections to an address again that were there by then.
    pub(super) fn forget(&self, address: IpAddr, used: Instant) {
        let inside = self.inside();
        let pools = inside
            .pools
            .iter()
            .filter(|(key, _)| key.0 == Some(address));
        let pools: Vec<_> = pools.map(|(_, pool)| Arc::clone(pool)).collect();
        drop(inside);
        pools.iter().for_each(|pool| pool.close_before(Some(used)));
    }

    fn idlest(&self) -> Option<(Instant, Arc<Pool>)> {
        let inside = self.inside();
        let idle = inside.pools.values();
        let idle = idle.filter_map(|pool| Some((pool.idlest()?, Arc::clone(pool))));
        idle.min_by_key(|(since, _)| *since)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Takes in what DNS gives now. Returns the pools of the addresses that are gone, to be closed without the lock.
    fn update(&mut self, given: &Given<'_>, now: Instant) -> Vec<Arc<Pool>> {
        let gone = self.book.update(given, now);
        if gone.is_empty() {
            return Vec::new();
        }
        let is_gone = |key: &Key| key.0.is_some_and(|address| gone.contains(&address));
        let pools = self.pools.extract_if(|key, _| is_gone(key));
        pools.map(|(_, pool)| pool).collect()
    }
}

impl Addresses for Place {
    fn knows(&self, address: IpAddr) -> bool {
        self.inside().book.knows(address)
    }

    fn brought(&self) -> u64 {
        self.inside().book.brought()
    }

    fn refresh(self: Arc<Self>) {
        let Some(name) = self.name.get() else {
            return;
        };
        let place = Arc::downgrade(&self);
        name.look_up(move |answer| {
            if let Some(place) = place.upgrade() {
                place.take_in(&given(answer));
            }
        });
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Place");
        shown
            .field("book", &self.inside().book)
            .finish_non_exhaustive()
    }
}

impl registry::Entry for Place {
    /// Never: what is forgotten is looked up and connected to again.
    fn is_pinned(&self, _now: Instant) -> bool {
        false
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let pools = std::mem::take(&mut self.inside().pools);
        pools.values().for_each(|pool| pool.close());
    }
}

/// A request on its way to an address.
pub(super) struct Visit {
    place: Arc<Place>,
    entry: Option<Entry>,
    tracker: Arc<Tracker>,
    fared: Option<Fared>,
}

impl Visit {
    pub(super) fn fared(mut self, fared: Fared) {
        self.fared = Some(fared);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let fared = self.fared.unwrap_or_else(|| {
            // Given up and not ended: a limit ran out. A caller that goes away ends it first.
            let expired = self.tracker.is_given_up() && self.tracker.ended().is_none();
            match self.tracker.open() {
                _ if !expired => Fared::Unknown,
                _ if self.tracker.facts(|facts| facts.is_queued) => Fared::Unknown,
                Some(Stage::Connect) => Fared::Unreachable,
                _ => Fared::Failed,
            }
        });
        let Some(entry) = self.entry.take() else {
            return;
        };
        let address = entry.address;
        let set_aside = self.place.inside().book.end(entry, fared, clock::now());
        if set_aside {
            self.tracker.spans().set_aside(address);
        }
    }
}

const MOST_PLACES: usize = 1_024;
/// Of one destination, before those without a connection are forgotten.
const MOST_POOLS: usize = 64;
