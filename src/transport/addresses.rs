//! Which address is tried next: pure.

use std::net::IpAddr;
use std::time::Duration;

/// The addresses of a name in the order in which they are tried: the one that was used last comes
/// first as long as DNS still gives it (its connections are warm), then the order of the answer.
pub(super) fn order(answer: &[IpAddr], warm: Option<IpAddr>, most: usize) -> Vec<IpAddr> {
    let warm = warm.filter(|address| answer.contains(address));
    let others = answer
        .iter()
        .copied()
        .filter(|address| Some(*address) != warm);
    warm.into_iter().chain(others).take(most).collect()
}

/// How long the next address may take to connect: an equal share of what is left, so that one that
/// swallows SYNs does not use up the time of the others.
pub(super) fn share(left: Duration, addresses: usize) -> Duration {
    let addresses = u32::try_from(addresses.max(1)).unwrap_or(u32::MAX);
    (left / addresses).max(LEAST_SHARE.min(left))
}

/// One round trip to the far side of the world.
const LEAST_SHARE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
    const C: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 3));

    #[test]
    fn warm_address_is_tried_first_while_dns_gives_it() {
        assert_eq!(order(&[A, B, C], None, 16), [A, B, C]);
        assert_eq!(order(&[A, B, C], Some(C), 16), [C, A, B]);
        assert_eq!(order(&[A, B], Some(C), 16), [A, B]);
        assert_eq!(order(&[A, B, C], Some(C), 2), [C, A]);
    }

    #[test]
    fn connect_limit_is_shared_among_the_addresses() {
        let sec = Duration::from_secs;
        assert_eq!(share(sec(3), 1), sec(3));
        assert_eq!(share(sec(3), 3), sec(1));
        assert_eq!(share(sec(3), 100), Duration::from_millis(300));
        assert_eq!(
            share(Duration::from_millis(10), 100),
            Duration::from_millis(10)
        );
    }
}
