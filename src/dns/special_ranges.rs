//! Special addresses: the ranges that are not the public internet, and the IPv4 addresses that some IPv6 addresses
//! stand for. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cidr::Cidr;

/// The reason why an address is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressRange {
    /// Not an address of a host: `0.0.0.0/8`, `::`.
    Unspecified,
    /// This machine.
    Loopback,
    /// A private network (RFC 1918, RFC 4193), or the former site-local addresses.
    Private,
    /// The network that is shared behind a carrier's NAT, 100.64.0.0/10.
    Shared,
    /// Only this link.
    LinkLocal,
    /// The servers from which cloud machines get their credentials: `169.254.169.254`, `fd00:ec2::254` and similar.
    Metadata,
    /// For documentation.
    Documentation,
    /// For benchmarks.
    Benchmarking,
    /// Several hosts at once, or all.
    Multicast,
    /// Reserved for other purposes, or not used yet.
    Reserved,
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        })
    }
}

/// Returns the special range of `address`; `None` if it is public.
pub(super) fn range(address: IpAddr) -> Option<AddressRange> {
    let ranges = match address {
        IpAddr::V4(_) => V4,
        IpAddr::V6(_) => V6,
    };
    let found = ranges.iter().find(|(cidr, _)| cidr.contains(address));
    match (found, address) {
        // Teredo is judged by the IPv4 addresses in it.
        (_, IpAddr::V6(v6)) if v6.segments()[..2] == [0x2001, 0] => None,
        (Some((_, range)), _) => Some(*range),
        // Outside of these ranges, only 2000::/3 is in use.
        (None, IpAddr::V6(v6)) if v6.segments()[0] >> 13 != 1 => Some(AddressRange::Reserved),
        (None, _) => None,
    }
}

/// The IPv4 addresses in an IPv6 address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Embedded {
    pub(super) addresses: Vec<Ipv4Addr>,
    /// Whether the address reaches only them.
    pub(super) stands_for_them: bool,
}

/// Returns the IPv4 addresses that `address` stands for, or is routed through.
pub(super) fn embedded(address: Ipv6Addr) -> Embedded {
    let bits = address.to_bits();
    let at = |shift: u32| {
        let [.., a, b, c, d] = (bits >> shift).to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    let (addresses, stands_for_them) = match address.segments() {
        // IPv4-mapped, and IPv4-translated (RFC 2765). Then IPv4-compatible, except `::` and `::1`.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => (vec![at(0)], true),
        [0, 0, 0, 0, 0, 0, ..] if bits > 1 => (vec![at(0)], true),
        // NAT64 (RFC 6052, RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => (vec![at(0)], true),
        [0x64, 0xff9b, 1, ..] => (local_nat64(bits), true),
        // 6to4 (RFC 3056).
        [0x2002, ..] => (vec![at(80)], false),
        // Teredo (RFC 4380): the server, and the client, whose bits are inverted.
        [0x2001, 0, ..] => (vec![at(64), Ipv4Addr::from_bits(!at(0).to_bits())], false),
        // ISATAP (RFC 5214), below any prefix.
        [.., 0x0000 | 0x0200, 0x5efe, _, _] => (vec![at(0)], false),
        _ => (Vec::new(), false),
    };
    Embedded {
        addresses,
        stands_for_them,
    }
}

/// Returns the IPv4 addresses at the places where RFC 6052 §2.2 puts them below prefixes of 48, 56, 64 and 96 bits. It
/// is not known which one a network uses, so all of them count, except for empty ones.
fn local_nat64(bits: u128) -> Vec<Ipv4Addr> {
    let bytes = bits.to_be_bytes();
    let places = [
        [6, 7, 9, 10],
        [7, 9, 10, 11],
        [9, 10, 11, 12],
        [12, 13, 14, 15],
    ];
    let addresses = places.map(|place| Ipv4Addr::from(place.map(|byte: usize| bytes[byte])));
    let used = addresses.iter().filter(|address| address.octets()[0] != 0);
    let used: Vec<_> = used.copied().collect();
    if used.is_empty() {
        return vec![Ipv4Addr::UNSPECIFIED];
    }
    used
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(a: u16, b: u16, c: u16, h: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, h))
}

/// IANA's registry of special IPv4 addresses; the first that matches counts.
const V4: &[(Cidr, AddressRange)] = &[
    (Cidr::known(v4(0, 0, 0, 0), 8), AddressRange::Unspecified),
    (Cidr::known(v4(10, 0, 0, 0), 8), AddressRange::Private),
    (
        Cidr::known(v4(100, 100, 100, 200), 32),
        AddressRange::Metadata,
    ), // Alibaba
    (Cidr::known(v4(100, 64, 0, 0), 10), AddressRange::Shared),
    (Cidr::known(v4(127, 0, 0, 0), 8), AddressRange::Loopback),
    (
        Cidr::known(v4(168, 63, 129, 16), 32),
        AddressRange::Metadata,
    ), // Azure
    (
        Cidr::known(v4(169, 254, 169, 254), 32),
        AddressRange::Metadata,
    ),
    (
        Cidr::known(v4(169, 254, 170, 2), 32),
        AddressRange::Metadata,
    ), // ECS tasks
    (Cidr::known(v4(169, 254, 0, 0), 16), AddressRange::LinkLocal),
    (Cidr::known(v4(172, 16, 0, 0), 12), AddressRange::Private),
    (Cidr::known(v4(192, 0, 0, 192), 32), AddressRange::Metadata), // Oracle
    (Cidr::known(v4(192, 0, 0, 0), 24), AddressRange::Reserved),
    (
        Cidr::known(v4(192, 0, 2, 0), 24),
        AddressRange::Documentation,
    ),
    (Cidr::known(v4(192, 31, 196, 0), 24), AddressRange::Reserved), // AS112
    (Cidr::known(v4(192, 52, 193, 0), 24), AddressRange::Reserved), // AMT
    (Cidr::known(v4(192, 88, 99, 0), 24), AddressRange::Reserved),  // 6to4 relays
    (Cidr::known(v4(192, 168, 0, 0), 16), AddressRange::Private),
    (Cidr::known(v4(192, 175, 48, 0), 24), AddressRange::Reserved), // AS112
    (
        Cidr::known(v4(198, 18, 0, 0), 15),
        AddressRange::Benchmarking,
    ),
    (
        Cidr::known(v4(198, 51, 100, 0), 24),
        AddressRange::Documentation,
    ),
    (
        Cidr::known(v4(203, 0, 113, 0), 24),
        AddressRange::Documentation,
    ),
    (Cidr::known(v4(224, 0, 0, 0), 4), AddressRange::Multicast),
    (
        Cidr::known(v4(255, 255, 255, 255), 32),
        AddressRange::Multicast,
    ), // broadcast
    (Cidr::known(v4(240, 0, 0, 0), 4), AddressRange::Reserved),
];

/// IANA's registry of special IPv6 addresses; the first that matches counts. An address that stands for an IPv4 address
/// is public if that one is.
const V6: &[(Cidr, AddressRange)] = &[
    (Cidr::known(v6(0, 0, 0, 0), 128), AddressRange::Unspecified),
    (Cidr::known(v6(0, 0, 0, 1), 128), AddressRange::Loopback),
    (Cidr::known(v6(0x100, 0, 0, 0), 64), AddressRange::Reserved), // discard
    (
        Cidr::known(v6(0x2001, 2, 0, 0), 48),
        AddressRange::Benchmarking,
    ),
    (Cidr::known(v6(0x2001, 0, 0, 0), 23), AddressRange::Reserved), // protocols of the IETF, with ORCHID
    (
        Cidr::known(v6(0x2001, 0xdb8, 0, 0), 32),
        AddressRange::Documentation,
    ),
    (
        Cidr::known(v6(0x2620, 0x4f, 0x8000, 0), 48),
        AddressRange::Reserved,
    ), // AS112
    (
        Cidr::known(v6(0x3fff, 0, 0, 0), 20),
        AddressRange::Documentation,
    ),
    (
        Cidr::known(v6(0xfd00, 0xec2, 0, 0x254), 128),
        AddressRange::Metadata,
    ), // AWS
    (
        Cidr::known(v6(0xfd20, 0xce, 0, 0x254), 128),
        AddressRange::Metadata,
    ), // Google
    (Cidr::known(v6(0xfc00, 0, 0, 0), 7), AddressRange::Private),
    (
        Cidr::known(v6(0xfe80, 0, 0, 0), 10),
        AddressRange::LinkLocal,
    ),
    (Cidr::known(v6(0xfec0, 0, 0, 0), 10), AddressRange::Private),
    (Cidr::known(v6(0xff00, 0, 0, 0), 8), AddressRange::Multicast),
];
