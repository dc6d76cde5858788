//! The order in which addresses are tried.

use std::net::IpAddr;
use std::sync::Arc;

/// Returns the addresses with the families in turns, IPv6 first (RFC 8305 §4). So a family that does not work here
/// costs one connection attempt, and not one for each of its addresses.
pub(crate) fn interleave(addresses: &[IpAddr]) -> Arc<[IpAddr]> {
    let mut six = addresses.iter().filter(|address| address.is_ipv6());
    let mut four = addresses.iter().filter(|address| address.is_ipv4());
    let mut ordered = Vec::with_capacity(addresses.len());
    while ordered.len() < addresses.len() {
        ordered.extend(six.next());
        ordered.extend(four.next());
    }
    ordered.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_keep_their_own_order() {
        let addresses = ["10.0.0.1", "10.0.0.2", "fd00::2", "10.0.0.3", "fd00::1"];
        let addresses = addresses.map(|address| address.parse().unwrap());

        let ordered: Vec<_> = interleave(&addresses)
            .iter()
            .map(ToString::to_string)
            .collect();

        assert_eq!(
            ordered,
            ["fd00::2", "10.0.0.1", "fd00::1", "10.0.0.2", "10.0.0.3"]
        );
    }
}
