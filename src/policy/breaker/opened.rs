//! The addresses that a destination had when its circuit opened. If DNS brings a new one, the circuit probes early.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::record::{Addresses, Tracker};

/// The addresses that were known when the circuit opened. Empty if no transport of this crate knows the addresses.
#[derive(Debug, Default)]
pub(super) struct Opened(Mutex<Option<Box<Then>>>);

#[derive(Debug)]
struct Then {
    /// The generation of the circuit since it opened.
    generation: u64,
    /// `None` also after a new address was reported.
    addresses: Option<Weak<dyn Addresses>>,
    known: Arc<[IpAddr]>,
}

impl Opened {
    /// Records that the circuit opened and has this generation. An opening that is older than the recorded one is
    /// ignored.
    pub(super) fn note(&self, generation: u64, addresses: Option<Arc<dyn Addresses>>) {
        // This calls foreign code, which must not run under the lock.
        let known = addresses.as_ref().map(|addresses| addresses.known());
        let mut then = self.then();
        if then
            .as_ref()
            .is_some_and(|then| generation < then.generation)
        {
            return;
        }
        *then = Some(Box::new(Then {
            generation,
            addresses: addresses.as_ref().map(Arc::downgrade),
            known: known.unwrap_or_default().into(),
        }));
        drop(then);
        // So the first rejected call finds a fresh DNS answer.
        if let Some(addresses) = addresses {
            addresses.refresh();
        }
    }

    /// Returns the generation of the opening if DNS has since brought an address that was not known then. Rejected
    /// calls do not reach the transport, so this method looks the name up. It reports each opening at most once.
    pub(super) fn another(&self) -> Option<u64> {
        let (addresses, generation, before) = {
            let then = self.then();
            let then = then.as_ref()?;
            let addresses = then.addresses.as_ref().and_then(Weak::upgrade)?;
            (addresses, then.generation, Arc::clone(&then.known))
        };
        // This calls foreign code, which must not run under the lock.
        Arc::clone(&addresses).refresh();
        let is_new = |address: &IpAddr| !before.contains(address);
        if !addresses.known().iter().any(is_new) {
            return None;
        }
        let mut then = self.then();
        let then = then.as_mut()?;
        // Meanwhile another call may have got the generation, or the circuit may have opened again.
        let is_first = then.generation == generation && then.addresses.take().is_some();
        is_first.then_some(generation)
    }

    fn then(&self) -> MutexGuard<'_, Option<Box<Then>>> {
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
    use std::fmt;

    use super::*;

    /// The addresses that a destination has, and those that it has after the next refresh. A function may run during
    /// that refresh.
    #[derive(Default)]
    struct Known {
        now: Mutex<Vec<u8>>,
        next: Mutex<Vec<u8>>,
        meanwhile: Mutex<Option<Box<Meanwhile>>>,
    }

    type Meanwhile = dyn FnOnce() + Send;

    impl fmt::Debug for Known {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.now.fmt(f)
        }
    }

    impl Known {
        fn now(addresses: &[u8]) -> Arc<Self> {
            let known = Arc::new(Self::default());
            *known.now.lock().unwrap() = addresses.into();
            known.later(addresses);
            known
        }

        fn later(&self, addresses: &[u8]) {
            *self.next.lock().unwrap() = addresses.into();
        }
    }

    impl Addresses for Known {
        fn knows(&self, _: IpAddr) -> bool {
            true
        }

        fn known(&self) -> Vec<IpAddr> {
            let known = self.now.lock().unwrap();
            known.iter().map(|last| [127, 0, 0, *last].into()).collect()
        }

        fn refresh(self: Arc<Self>) {
            let meanwhile = self.meanwhile.lock().unwrap().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile();
            }
            let next = self.next.lock().unwrap().clone();
            *self.now.lock().unwrap() = next;
        }
    }

    fn noted(generation: u64, addresses: &Arc<Known>) -> Arc<Opened> {
        let opened = Arc::new(Opened::default());
        opened.note(generation, Some(Arc::clone(addresses) as _));
        opened
    }

    #[test]
    fn address_that_was_not_known_at_the_opening_is_told_once() {
        for (at_opening, later, expected) in [
            (&[1][..], &[1][..], None),
            (&[1], &[1, 2], Some(7)),
            (&[1], &[2], Some(7)),
            (&[1, 2], &[1], None),
            (&[], &[1], Some(7)),
        ] {
            let addresses = Known::now(at_opening);
            let opened = noted(7, &addresses);
            addresses.later(later);
            let told = [(); 3].map(|()| opened.another());
            assert_eq!(told, [expected, None, None], "{addresses:?}");
        }
    }

    #[test]
    fn known_address_that_left_and_came_back_is_not_new() {
        let addresses = Known::now(&[1, 2]);
        let opened = noted(7, &addresses);
        for later in [&[1][..], &[1, 2], &[2], &[2, 1]] {
            addresses.later(later);
            assert_eq!(opened.another(), None);
        }
    }

    #[test]
    fn call_that_comes_late_does_not_use_up_what_the_next_opening_noted() {
        let addresses = Known::now(&[1]);
        let opened = noted(1, &addresses);
        addresses.later(&[1, 2]);
        let again = (Arc::clone(&opened), Arc::clone(&addresses));
        *addresses.meanwhile.lock().unwrap() = Some(Box::new(move || {
            let (opened, addresses) = again;
            opened.note(3, Some(addresses));
        }));
        assert_eq!(opened.another(), None);
        addresses.later(&[1, 2, 3]);
        assert_eq!(opened.another(), Some(3));
    }

    #[test]
    fn earlier_opening_that_is_noted_late_is_ignored() {
        let addresses = Known::now(&[1]);
        let opened = noted(3, &addresses);
        opened.note(1, None);
        addresses.later(&[2]);
        assert_eq!(opened.another(), Some(3));
    }

    #[test]
    fn addresses_of_a_transport_that_is_gone_bring_no_other() {
        let addresses = Known::now(&[1]);
        let opened = noted(1, &addresses);
        addresses.later(&[2]);
        drop(addresses);
        assert_eq!(opened.another(), None);
        opened.note(3, None);
        assert_eq!(opened.another(), None, "no attempt tells of addresses");
    }
}
