use std::time::Duration;

use super::*;

#[test]
fn address_that_is_not_public_is_refused() {
    for (addresses, range) in [
        ("127.0.0.1 127.255.255.254 ::1", AddressRange::Loopback),
        ("0.0.0.0 0.1.2.3 ::", AddressRange::Unspecified),
        (
            "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1",
            AddressRange::Private,
        ),
        ("fc00::1 fd12:3456::1 fec0::1", AddressRange::Private),
        ("100.64.0.1 100.127.255.255", AddressRange::Shared),
        ("169.254.0.1 fe80::1", AddressRange::LinkLocal),
        (
            "169.254.169.254 169.254.170.2 168.63.129.16",
            AddressRange::Metadata,
        ),
        (
            "100.100.100.200 192.0.0.192 fd00:ec2::254 fd20:ce::254",
            AddressRange::Metadata,
        ),
        (
            "192.0.2.1 198.51.100.1 203.0.113.1",
            AddressRange::Documentation,
        ),
        ("2001:db8::1 3fff::1", AddressRange::Documentation),
        (
            "198.18.0.1 198.19.255.255 2001:2::1",
            AddressRange::Benchmarking,
        ),
        (
            "224.0.0.1 239.1.1.1 255.255.255.255 ff02::1",
            AddressRange::Multicast,
        ),
        (
            "240.0.0.1 192.0.0.1 192.88.99.1 100::1",
            AddressRange::Reserved,
        ),
        ("4000::1 2001:10::1 2001:20::1", AddressRange::Reserved),
        (
            "2001:1::1 2001:3::1 2001:4:112::1 2001:30::1 2001:1ff:ffff::1 2620:4f:8000::1",
            AddressRange::Reserved,
        ),
    ] {
        for address in addresses.split(' ') {
            let refused = AddressFilter::public_only().check(ip(address)).unwrap_err();
            assert_eq!(
                (refused.range(), refused.address()),
                (Some(range), ip(address))
            );
        }
    }
}

#[test]
fn public_address_is_not_refused() {
    let addresses = "23.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.0.0.1 128.0.0.1 \
        169.253.0.1 172.15.255.255 172.32.0.0 192.0.1.1 192.167.0.1 198.17.0.1 198.20.0.1 223.255.255.255 \
        2001:200::1 2600::1111 2620::8888 2620:4f:8001::1 2a00::1";
    for address in addresses.split_whitespace() {
        assert_eq!(
            AddressFilter::public_only().check(ip(address)),
            Ok(()),
            "{address}"
        );
    }
}

#[test]
fn ipv6_address_is_judged_by_the_ipv4_address_in_it() {
    for (form, prefix_of) in [
        (
            "mapped",
            &(|v4: &str| format!("::ffff:{v4}")) as &dyn Fn(&str) -> String,
        ),
        ("compatible", &|v4| format!("::{v4}")),
        ("translated", &|v4| format!("::ffff:0:{v4}")),
        ("nat64", &|v4| format!("64:ff9b::{v4}")),
        ("local nat64", &|v4| format!("64:ff9b:1::{v4}")),
        ("6to4", &|v4| {
            let [a, b, c, d] = octets(v4);
            format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1")
        }),
        ("teredo server", &|v4| {
            let [a, b, c, d] = octets(v4);
            format!("2001:0:{a:02x}{b:02x}:{c:02x}{d:02x}:0:0:f7f7:f7f7")
        }),
        ("teredo client", &|v4| {
            let [a, b, c, d] = octets(v4).map(|byte| !byte);
            format!("2001:0:1700:808:0:0:{a:02x}{b:02x}:{c:02x}{d:02x}")
        }),
        ("isatap", &|v4| format!("2600::5efe:{v4}")),
    ] {
        let check = |v4| AddressFilter::public_only().check(ip(&prefix_of(v4)));
        for v4 in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1"] {
            assert!(check(v4).is_err(), "{form} {v4}");
        }
        assert_eq!(check("23.0.8.8"), Ok(()), "{form}");
        let denied = AddressFilter::new().deny("23.0.8.0/24".parse().unwrap());
        assert!(denied.check(ip(&prefix_of("23.0.8.8"))).is_err(), "{form}");
    }
}

#[test]
fn local_nat64_is_judged_wherever_its_prefix_ends() {
    for address in [
        "64:ff9b:1:a00:0:100::",
        "64:ff9b:1:a:0:1::",
        "64:ff9b:1:0:a:0:100:0",
        "64:ff9b:1::10.0.0.1",
        "64:ff9b:1::",
    ] {
        assert!(
            AddressFilter::public_only().check(ip(address)).is_err(),
            "{address}"
        );
    }
}

#[test]
fn allowed_beats_the_range_and_denied_beats_everything() {
    let filter = AddressFilter::public_only()
        .allow("10.1.0.0/16".parse().unwrap())
        .deny("10.1.2.0/24".parse().unwrap())
        .deny("23.0.8.8".parse().unwrap());

    for (address, passes) in [
        ("10.1.0.1", true),
        ("::ffff:10.1.0.1", true),
        ("10.2.0.1", false),
        ("10.1.2.3", false),
        ("::ffff:10.1.2.3", false),
        ("23.0.8.8", false),
        ("23.0.4.4", true),
    ] {
        assert_eq!(filter.check(ip(address)).is_ok(), passes, "{address}");
    }
    let refused = filter.check(ip("10.1.2.3")).unwrap_err();
    assert_eq!(refused.range(), None);
    assert_eq!(
        refused.to_string(),
        "the filter refuses 10.1.2.3: 10.1.2.0/24 is denied"
    );
}

#[test]
fn new_filter_refuses_nothing() {
    for address in ["127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1"] {
        assert_eq!(AddressFilter::new().check(ip(address)), Ok(()));
    }
}

#[test]
fn answer_keeps_the_permitted_addresses_and_without_any_it_is_an_error() {
    let hour = Duration::from_secs(3_600);
    let answer = |addresses: &[&str]| Answer::new(addresses.iter().map(|a| ip(a)), hour).unwrap();
    let filter = AddressFilter::public_only();

    let mixed = answer(&["10.0.0.1", "23.1.1.1", "127.0.0.1"]);
    let kept = filter.retain(&mixed).unwrap();
    assert_eq!(
        (kept.addresses(), kept.ttl()),
        (&[ip("23.1.1.1")][..], hour)
    );
    let alone = answer(&["23.1.1.1"]);
    assert_eq!(kept.generation(), alone.generation());
    assert_ne!(kept.generation(), mixed.generation());

    let refused = filter
        .retain(&answer(&["10.0.0.1", "127.0.0.1"]))
        .unwrap_err();
    assert_eq!(refused.address(), ip("10.0.0.1"));
}

#[test]
fn literal_of_any_spelling_is_one_address_in_a_url() {
    let spellings = "127.0.0.1 2130706433 0177.0.0.1 0x7f.0.0.1 0x7f000001 017700000001 127.1 127.0.1 \
        0x7f.1 127.0.0.1. %31%32%37.0.0.1 １２７.0.0.1 127。0。0。1";
    for host in spellings.split_whitespace() {
        for scheme in ["http", "https"] {
            let url = url::Url::parse(&format!("{scheme}://{host}/")).unwrap();
            let Some(url::Host::Ipv4(address)) = url.host() else {
                panic!("{host} is not an address: {url}");
            };
            assert!(
                AddressFilter::public_only().check(address.into()).is_err(),
                "{host}"
            );
        }
    }
    for host in ["[::1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]"] {
        let url = url::Url::parse(&format!("http://{host}/")).unwrap();
        let Some(url::Host::Ipv6(address)) = url.host() else {
            panic!("{host} is not an address");
        };
        assert!(
            AddressFilter::public_only().check(address.into()).is_err(),
            "{host}"
        );
    }
    assert!(url::Url::parse("http://256.0.0.1/").is_err());
}

#[cfg(feature = "serde")]
#[test]
fn filter_is_read_from_a_file_and_names_an_unreadable_entry() {
    let read = |json: &str| serde_json::from_str::<AddressFilter>(json).map_err(|e| e.to_string());
    let filter = AddressFilter::public_only().allow("10.1.0.0/16".parse().unwrap());

    let json = serde_json::to_string(&filter).unwrap();
    assert_eq!(read(&json).unwrap(), filter);
    assert_eq!(read("{}").unwrap(), AddressFilter::new());
    assert_eq!(
        read(r#"{"public_only": true}"#).unwrap(),
        AddressFilter::public_only()
    );
    for (json, names) in [
        (r#"{"deny": ["10.0.0.1/8"]}"#, "10.0.0.1/8"),
        (r#"{"public": true}"#, "public"),
    ] {
        assert!(read(json).unwrap_err().contains(names));
    }
}

#[test]
fn range_in_the_mapped_form_means_the_ipv4_range() {
    let filter = AddressFilter::new().deny("::ffff:169.254.0.0/112".parse().unwrap());
    for address in ["169.254.169.254", "::ffff:169.254.169.254"] {
        assert!(filter.check(ip(address)).is_err(), "{address}");
    }
    assert!(filter.check(ip("169.253.0.1")).is_ok());
}

fn ip(text: &str) -> IpAddr {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is an address"))
}

fn octets(v4: &str) -> [u8; 4] {
    v4.parse::<std::net::Ipv4Addr>().unwrap().octets()
}
