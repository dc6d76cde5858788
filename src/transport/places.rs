//! Where requests go: for each destination a book of its addresses, and one reqwest client for each
//! address, so that the pool of an address ends with it.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::book::{Book, Entry, Fared, Given};
use super::connections::{Connections, Used};
use super::recipe::Recipe;
#[cfg(feature = "otel")]
use super::sockets;
use super::target::Target;
use crate::clock;
#[cfg(feature = "otel")]
use crate::destination::Destination;
use crate::destination::Origin;
use crate::dns::Hold;
use crate::hop::Stage;
use crate::luck::luck;
use crate::record::Tracker;
use crate::registry::{self, Registry};

/// The destinations in use, bounded in number.
pub(super) struct Places {
    recipe: Recipe,
    known: Registry<Place>,
}

impl Places {
    pub(super) fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            known: Registry::bounded(MOST_PLACES, clock::now()),
        }
    }

    /// The place of a request. What has neither scheme nor host was refused before.
    pub(super) fn of(&self, uri: &http::Uri) -> Arc<Place> {
        let now = clock::now();
        let Some(origin) = Origin::of(uri) else {
            return Arc::default();
        };
        self.known.get(&origin, now).unwrap_or_else(|| {
            let fresh = Place::default();
            self.known.get_or_keep(origin.to_destination(), fresh, now)
        })
    }

    /// The client of an address, made on first use, and anew when its connections may be too old.
    pub(super) fn client(
        &self,
        place: &Place,
        target: &Target,
        address: SocketAddr,
    ) -> reqwest::Result<reqwest::Client> {
        let now = clock::now();
        if let Some(client) = place.client(address.ip(), now) {
            return Ok(client);
        }
        // Made outside of the lock; if two make one at once, the first stays.
        let made = self
            .recipe
            .make(&target.host, address, target.via.as_deref())?;
        let lives = CONNECTION_AGE.mul_f64(1.0 + AGE_JITTER * (2.0 * luck() - 1.0));
        Ok(place.keep(address.ip(), Held::new(made, now, lives), now))
    }
}

#[cfg(feature = "otel")]
impl Places {
    /// How many connections are open to each destination; nothing where that cannot be known.
    pub(super) fn open_connections(&self) -> Vec<(Destination, u64)> {
        let asked = clock::now();
        let Some(established) = sockets::established() else {
            return Vec::new();
        };
        self.known.each(|destination, place| {
            let held: Vec<_> = {
                let inside = place.inside();
                let held = inside.clients.values();
                held.map(|held| held.connections.clone()).collect()
            };
            let open = held
                .iter()
                .map(|held| held.open(&established, asked) as u64)
                .sum();
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
#[derive(Default)]
pub(super) struct Place(Mutex<Inside>, OnceLock<Hold>);

#[derive(Default)]
struct Inside {
    book: Book,
    clients: HashMap<IpAddr, Held>,
}

/// A client, and what is known of its connections.
struct Held {
    client: reqwest::Client,
    begun: Instant,
    used: Instant,
    /// From then on new requests get a new client; those in flight finish on this one.
    old_at: Instant,
    connections: Connections,
}

impl Held {
    fn new(
        (client, connections): (reqwest::Client, Connections),
        now: Instant,
        lives: Duration,
    ) -> Self {
        Self {
            client,
            begun: now,
            used: now,
            old_at: now + lives,
            connections,
        }
    }
}

impl Place {
    /// The addresses to be tried, in order. The clients of those that are gone go with them.
    pub(super) fn order(&self, given: &Given<'_>, most: usize) -> Vec<IpAddr> {
        let now = clock::now();
        let mut inside = self.inside();
        let gone = inside.book.update(given, now);
        let order = inside.book.order(given.addresses, most, now);
        let clients: Vec<_> = gone
            .iter()
            .filter_map(|address| inside.clients.remove(address))
            .collect();
        drop(inside);
        // Idle connections are closed here, outside of the lock.
        drop(clients);
        order
    }

    /// Has the resolver keep the name of this destination, as long as the destination lives.
    pub(super) fn hold(&self, hold: impl FnOnce() -> Option<Hold>) {
        if self.1.get().is_none()
            && let Some(hold) = hold()
        {
            // Another request may have been quicker: its hold is as good.
            let _ = self.1.set(hold);
        }
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

    /// Drops the client of an address, if it is the one that was in use then: its idle connections
    /// are closed, and the next request makes new ones. Of many requests that fail at once the first
    /// does it; the others leave alone what was made since.
    pub(super) fn forget(&self, address: IpAddr, used: Instant) {
        let mut inside = self.inside();
        let then = |held: &Held| held.begun <= used;
        let gone = match inside.clients.get(&address).is_some_and(then) {
            true => inside.clients.remove(&address),
            false => None,
        };
        drop(inside);
        // Closed here, outside of the lock.
        drop(gone);
    }

    /// What is known of the connection from `local` to an address.
    pub(super) fn connection(&self, address: IpAddr, local: SocketAddr) -> Option<Used> {
        let connections = {
            let inside = self.inside();
            inside.clients.get(&address)?.connections.clone()
        };
        connections.used(local)
    }

    fn client(&self, address: IpAddr, now: Instant) -> Option<reqwest::Client> {
        let mut inside = self.inside();
        let held = inside.clients.get_mut(&address)?;
        held.used = now;
        (now < held.old_at).then(|| held.client.clone())
    }

    fn keep(&self, address: IpAddr, fresh: Held, now: Instant) -> reqwest::Client {
        let mut inside = self.inside();
        let kept = inside.clients.get(&address);
        if let Some(kept) = kept.filter(|kept| now < kept.old_at) {
            return kept.client.clone();
        }
        let client = fresh.client.clone();
        if !inside.book.knows(address) {
            // It left while its siblings were tried: it serves this one request.
            return client;
        }
        let mut gone = vec![inside.clients.insert(address, fresh)];
        if inside.clients.len() > MOST_CLIENTS {
            let others = inside
                .clients
                .iter()
                .filter(|(other, _)| **other != address);
            let oldest = others.min_by_key(|(_, held)| held.used);
            let oldest = oldest.map(|(address, _)| *address);
            gone.extend(oldest.map(|oldest| inside.clients.remove(&oldest)));
        }
        drop(inside);
        drop(gone);
        client
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl registry::Entry for Place {
    /// Never: what is forgotten is looked up and connected to again.
    fn is_pinned(&self, _now: Instant) -> bool {
        false
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
/// Of one destination; more than a name has at a time.
const MOST_CLIENTS: usize = 64;
/// Load balancers and deployments move on; connections that never end do not.
const CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);
const AGE_JITTER: f64 = 0.2;

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::Authority;

    #[tokio::test(start_paused = true)]
    async fn client_whose_connections_may_be_too_old_is_not_used_again() {
        let tls = Authority::new().unwrap().client_config();
        let made = || {
            let builder = reqwest::Client::builder();
            let client = builder.tls_backend_preconfigured(tls.clone()).build();
            (client.unwrap(), Connections::default())
        };
        let (place, now) = (Place::default(), clock::now());
        let address = IpAddr::from([127, 0, 0, 1]);
        let given = Given {
            addresses: &[address],
            generation: 1,
            ttl: CONNECTION_AGE,
            speaks_for: (true, true),
        };
        let held = Held::new(made(), now, CONNECTION_AGE);
        place.keep(address, held, now);
        assert!(place.client(address, now).is_none(), "nobody knows it");
        assert_eq!(place.order(&given, 1), [address]);
        let held = Held::new(made(), now, CONNECTION_AGE);
        place.keep(address, held, now);
        let old = now + CONNECTION_AGE;
        assert!(
            place
                .client(address, old - Duration::from_nanos(1))
                .is_some()
        );
        assert!(place.client(address, old).is_none());
        // Its place is taken by a new one.
        let held = Held::new(made(), old, CONNECTION_AGE);
        place.keep(address, held, old);
        assert!(place.client(address, old).is_some());
    }
}
