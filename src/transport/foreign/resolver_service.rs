//! This crate's resolver in the form that reqwest and hyper-util accept. It reports to the setup that calls it.

#![cfg_attr(
    not(feature = "hyper-util"),
    expect(unreachable_pub, reason = "it is shown with that feature")
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::connector::setup;
use super::judge::unseen;
use crate::box_error::BoxError;
use crate::dns::{AddressFilter, Resolve};
use crate::error::Error;
use crate::record::tracker;
use crate::timeout::Timeouts;
use crate::transport::leave::alone;
use crate::transport::resolve::lookup;
use crate::transport::target::{Dial, read_host};

/// Looks names up for a connector.
#[derive(Clone, Debug)]
pub struct ResolverService {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) filter: AddressFilter,
    pub(super) timeouts: Timeouts,
    pub(super) others: Others,
    /// The connect timeout of the connector, which it divides among the addresses that it gets.
    pub(super) divided: Duration,
}

type Looking = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, BoxError>> + Send>>;

impl ResolverService {
    /// Returns the addresses of a name, without a port.
    pub(super) fn lookup(&self, name: &str) -> Looking {
        let (this, dial) = (self.clone(), read_host(name));
        Box::pin(async move {
            let dial = dial?;
            let setup = setup();
            // Without an attempt around the lookup, a redirect may have come before: a name does not show it.
            let is_unsent = || tracker::current().is_some_and(|attempt| attempt.is_unsent());
            let is_first = setup.is_some() || is_unsent();
            let tracker = setup.as_ref().and_then(|setup| {
                setup.asked();
                setup.tracker()
            });
            let tracker = tracker.unwrap_or_else(|| {
                let tracker = alone(&this.timeouts);
                tracker.begin();
                tracker
            });
            let is_other = setup
                .as_ref()
                .is_some_and(|setup| !setup.is_to(&dial.shown()));
            if is_other && this.filter.is_on() && !this.others.contain(&dial) {
                return Err(unseen(OTHER_NAME).into());
            }
            let proved = |error: Error| if is_first { error } else { error.unproved() };
            // The filter does not apply to the address of a proxy.
            let none = AddressFilter::new();
            let filter = if is_other { &none } else { &this.filter };
            let answer = lookup(&*this.resolver, &dial, filter, &tracker).await;
            let answer = answer.map_err(proved)?;
            let connect = tracker.timeouts().connect();
            let addresses: Vec<_> = padded(answer.addresses(), this.divided, connect)
                .map(|ip| SocketAddr::new(ip, 0))
                .collect();
            if let Some(setup) = setup {
                let port = setup.port.filter(|_| !is_other);
                let first = addresses.first().zip(port);
                setup.dialling(first.map(|(first, port)| SocketAddr::new(first.ip(), port)));
            }
            Ok(addresses)
        })
    }
}

/// Returns the addresses, and after them enough unusable ones. So a connector that divides `divided` gives no usable
/// address more than its share of `connect`. The connector divides the time for each family alone, and two families
/// race.
fn padded(
    addresses: &[IpAddr],
    divided: Duration,
    connect: Duration,
) -> impl Iterator<Item = IpAddr> {
    let pads = UNUSABLE.into_iter().flat_map(move |unusable| {
        let family = addresses
            .iter()
            .filter(|ip| ip.is_ipv4() == unusable.is_ipv4());
        let usable = family.count() as u128;
        let wanted = (usable * divided.as_nanos()).div_ceil(connect.as_nanos().max(1));
        let pads = match usable {
            // There is nothing to divide: the setup's own timeout applies.
            0 | 1 => 0,
            _ => wanted.saturating_sub(usable).min(MOST_PADS),
        };
        std::iter::repeat_n(unusable, usize::try_from(pads).unwrap_or(0))
    });
    addresses.iter().copied().chain(pads)
}

/// The names that a connector may look up besides the URL's, if the filter is on.
#[derive(Clone, Debug)]
pub(super) enum Others {
    /// Those of the proxies, if there are any.
    These(Arc<[Dial]>),
    /// All names: the connector connects to a proxy that filters.
    #[cfg(feature = "hyper-util")]
    All,
}

impl Others {
    fn contain(&self, dial: &Dial) -> bool {
        match self {
            Self::These(dials) => dials.contains(dial),
            #[cfg(feature = "hyper-util")]
            Self::All => true,
        }
    }
}

const OTHER_NAME: &str = "the connector asks for a name that is not the URL's (where it leads to a proxy \
                          that filters, say proxy_filters(true))";

/// Multicast: TCP does not support it, so every kernel refuses it immediately and sends nothing. A connector that
/// reaches it has tried all others, and reports the failure of the first.
const UNUSABLE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)),
    IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)),
];
/// Reached only if the connect timeout is about a millisecond and the whole setup is long. Then the shares are longer
/// than they should be.
const MOST_PADS: u128 = 1_000;

#[cfg(feature = "reqwest")]
impl reqwest::dns::Resolve for ResolverService {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let looking = self.lookup(name.as_str());
        Box::pin(async move {
            let addresses: reqwest::dns::Addrs = Box::new(looking.await?.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn counted(addresses: &[IpAddr], divided: Duration, connect: Duration) -> (usize, usize) {
        let padded: Vec<_> = padded(addresses, divided, connect).collect();
        assert_eq!(padded[..addresses.len()], *addresses);
        let pads = &padded[addresses.len()..];
        assert!(pads.iter().all(IpAddr::is_multicast));
        let old = pads.iter().filter(|ip| ip.is_ipv4()).count();
        (old, pads.len() - old)
    }

    #[test]
    fn share_of_an_address_is_never_more_than_its_part_of_the_connect_timeout() {
        let v4 = |last| IpAddr::from([127, 0, 0, last]);
        let v6 = |last| IpAddr::from([0, 0, 0, 0, 0, 0, 0, last]);
        assert_eq!(counted(&[], S(60), S(2)), (0, 0));
        assert_eq!(counted(&[v4(1)], S(60), S(2)), (0, 0));
        assert_eq!(counted(&[v4(1), v6(1)], S(60), S(2)), (0, 0));
        assert_eq!(counted(&[v4(1), v4(2)], S(2), S(2)), (0, 0));
        assert_eq!(counted(&[v4(1), v4(2)], S(2), S(3)), (0, 0));
        assert_eq!(counted(&[v4(1), v4(2)], S(6), S(2)), (4, 0));
        assert_eq!(counted(&[v4(1), v4(2), v6(1)], S(6), S(2)), (4, 0));
        assert_eq!(counted(&[v4(1), v6(2), v6(1), v6(3)], S(7), S(2)), (0, 8));
        let most = usize::try_from(MOST_PADS).unwrap();
        let shortest = Duration::from_millis(1);
        assert_eq!(counted(&[v4(1), v4(2)], S(3_600), shortest), (most, 0));
        for (divided, connect, of) in [(7, 2, 2), (67, 3, 5), (11, 4, 3)] {
            let addresses: Vec<_> = (0..of).map(v4).collect();
            let (pads, _) = counted(&addresses, S(divided), S(connect));
            let all = u32::try_from(pads).unwrap() + u32::from(of);
            assert!(S(divided) / all <= S(connect) / u32::from(of));
            assert!(S(divided) / (all - 1) > S(connect) / u32::from(of));
        }
    }
}
