//! The addresses that a destination had when its circuit opened. If DNS brings a new one, the circuit probes early.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::record::{Addresses, Tracker};

/// The addresses that were known when the circuit opened. Empty if no transport of this crate knows the addresses.
#[derive(Debug, Default)]
pub(super) struct Opened(Mutex<Option<Then>>);

#[derive(Debug)]
struct Then {
    addresses: Weak<dyn Addresses>,
    brought: u64,
}

impl Opened {
    /// Records the addresses when the circuit opens.
    pub(super) fn note(&self, addresses: Option<Arc<dyn Addresses>>) {
        *self.then() = addresses.as_ref().map(|addresses| Then {
            addresses: Arc::downgrade(addresses),
            brought: addresses.brought(),
        });
        // The first rejected call then finds a fresh DNS answer.
        if let Some(addresses) = addresses {
            addresses.refresh();
        }
    }

    /// Returns whether DNS has brought a new address since. Rejected calls do not reach the transport, so this method
    /// looks the name up. It returns true only once for each opening.
    pub(super) fn has_another(&self) -> bool {
        let then = self.then();
        let known = then
            .as_ref()
            .and_then(|then| Some((then.addresses.upgrade()?, then.brought)));
        drop(then);
        let Some((addresses, before)) = known else {
            return false;
        };
        // This runs foreign code, so it must not run under the lock.
        Arc::clone(&addresses).refresh();
        let has_another = addresses.brought() > before;
        if has_another {
            *self.then() = None;
        }
        has_another
    }

    fn then(&self) -> MutexGuard<'_, Option<Then>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of an attempt, and the addresses of its destination.
type Peer = (IpAddr, Arc<dyn Addresses>);

/// Returns the address of an attempt, if a transport of this crate knows it.
pub(super) fn peer_of(record: &Tracker) -> Option<Peer> {
    record.facts(|facts| Some((facts.peer?.ip(), facts.addresses.as_ref()?.upgrade()?)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A test double: the resolver learns the second number with the next refresh.
    #[derive(Debug)]
    struct Brought(AtomicU64, AtomicU64);

    impl Addresses for Brought {
        fn knows(&self, _: IpAddr) -> bool {
            true
        }

        fn brought(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn refresh(self: Arc<Self>) {
            self.0
                .store(self.1.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    #[test]
    fn address_that_was_not_known_at_the_opening_is_told_once() {
        for (at_opening, learned_then, learned_later, expected) in [
            (1, 1, 1, false),
            (1, 2, 2, true),
            (1, 1, 2, true),
            (2, 2, 2, false),
            (2, 2, 5, true),
        ] {
            let brought = Arc::new(Brought(at_opening.into(), learned_then.into()));
            let opened = Opened::default();
            opened.note(Some(Arc::clone(&brought) as Arc<dyn Addresses>));
            brought.1.store(learned_later, Ordering::Relaxed);
            let told = [(); 3].map(|()| opened.has_another());
            assert_eq!(told, [expected, false, false], "{brought:?}");
        }
    }

    #[test]
    fn next_opening_knows_what_came_before_it() {
        let brought = Arc::new(Brought(1.into(), 2.into()));
        let addresses = || Some(Arc::clone(&brought) as Arc<dyn Addresses>);
        let opened = Opened::default();
        opened.note(addresses());
        assert!(opened.has_another());
        opened.note(addresses());
        assert!(!opened.has_another());
        brought.1.store(3, Ordering::Relaxed);
        opened.note(None);
        assert!(!opened.has_another(), "no attempt tells of addresses");
        opened.note(addresses());
        assert!(opened.has_another());
    }

    #[test]
    fn addresses_of_a_transport_that_is_gone_bring_no_other() {
        let brought = Arc::new(Brought(1.into(), 2.into()));
        let opened = Opened::default();
        opened.note(Some(Arc::clone(&brought) as Arc<dyn Addresses>));
        drop(brought);
        assert!(!opened.has_another());
    }
}
