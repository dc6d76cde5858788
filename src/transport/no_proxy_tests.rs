use super::*;

const DIRECT: bool = true;
const PROXIED: bool = false;

/// Returns whether `list` excludes `url` from the proxy.
fn is_direct(list: &str, url: &str) -> bool {
    let mut no_proxy = NoProxy::default();
    let read = no_proxy.add(list);
    read.unwrap_or_else(|unreadable| panic!("{unreadable}"));
    let (dial, port) = crate::transport::target::dial(&url.parse().unwrap()).unwrap();
    no_proxy.match_to(&dial, port)
}

fn check(rows: &[(&str, &str, bool)]) {
    for (list, url, expected) in rows {
        assert_eq!(is_direct(list, url), *expected, "{list:?} and {url}");
    }
}

#[test]
fn star_matches_everything_and_an_empty_list_nothing() {
    check(&[
        ("*", "https://api.test/", DIRECT),
        ("*", "http://127.0.0.1/", DIRECT),
        ("*", "http://[::1]:8080/", DIRECT),
        ("one.test, *", "https://api.test/", DIRECT),
        ("*:8080", "http://api.test:8080/", DIRECT),
        ("*:8080", "http://10.0.0.1:8080/", DIRECT),
        ("*:8080", "http://api.test/", PROXIED),
        ("", "https://api.test/", PROXIED),
        (" , ,, ", "https://api.test/", PROXIED),
    ]);
}

#[test]
fn name_matches_itself_and_what_is_below_it() {
    check(&[
        ("api.test", "https://api.test/", DIRECT),
        ("api.test", "https://v1.api.test/", DIRECT),
        ("api.test", "https://a.b.api.test/", DIRECT),
        ("api.test", "https://notapi.test/", PROXIED),
        ("api.test", "https://api.test.evil.test/", PROXIED),
        ("api.test", "https://test/", PROXIED),
        ("test", "https://api.test/", DIRECT),
        ("localhost", "http://localhost:3000/", DIRECT),
        ("localhost", "http://127.0.0.1:3000/", PROXIED),
        (".api.test", "https://v1.api.test/", DIRECT),
        (".api.test", "https://api.test/", DIRECT),
        (".api.test", "https://notapi.test/", PROXIED),
        ("*.api.test", "https://v1.api.test/", DIRECT),
        ("*.api.test", "https://a.b.api.test/", DIRECT),
        ("*.api.test", "https://api.test/", PROXIED),
        ("*.api.test", "https://notapi.test/", PROXIED),
    ]);
}

#[test]
fn case_trailing_dots_and_other_spellings_of_a_name_do_not_matter() {
    check(&[
        ("API.Test", "https://api.test/", DIRECT),
        ("api.test", "https://API.TEST/", DIRECT),
        ("*.API.test", "https://V1.api.test/", DIRECT),
        ("api.test.", "https://api.test/", DIRECT),
        ("api.test", "https://api.test./", DIRECT),
        (".api.test.", "https://v1.api.test./", DIRECT),
        ("bücher.test", "https://xn--bcher-kva.test/", DIRECT),
        ("xn--bcher-kva.test", "https://bücher.test/", DIRECT),
        ("under_score.test", "https://under_score.test/", DIRECT),
    ]);
}

#[test]
fn entry_with_a_port_matches_at_that_port_alone() {
    check(&[
        ("api.test:8080", "http://api.test:8080/", DIRECT),
        ("api.test:8080", "http://v1.api.test:8080/", DIRECT),
        ("api.test:8080", "http://api.test/", PROXIED),
        ("api.test:8080", "http://api.test:8081/", PROXIED),
        ("api.test:443", "https://api.test/", DIRECT),
        ("api.test:80", "http://api.test/", DIRECT),
        ("api.test:80", "https://api.test/", PROXIED),
        (".api.test:8080", "http://v1.api.test:8080/", DIRECT),
        ("*.api.test:8080", "http://v1.api.test:8080/", DIRECT),
        ("*.api.test:8080", "http://v1.api.test/", PROXIED),
        ("api.test.:8080", "http://api.test:8080/", DIRECT),
    ]);
}

#[test]
fn addresses_are_compared_as_addresses_in_any_spelling() {
    check(&[
        ("127.0.0.1", "http://127.0.0.1/", DIRECT),
        ("127.0.0.1", "http://127.0.0.1:8080/", DIRECT),
        ("127.0.0.1", "http://127.0.0.2/", PROXIED),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/", DIRECT),
        ("127.0.0.1:8080", "http://127.0.0.1/", PROXIED),
        ("127.0.0.1", "http://0x7f.1/", DIRECT),
        ("127.0.0.1", "http://2130706433/", DIRECT),
        ("127.1", "http://127.0.0.1/", DIRECT),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]/", DIRECT),
        ("::ffff:127.0.0.1", "http://127.0.0.1/", DIRECT),
        ("[::ffff:127.0.0.1]:80", "http://127.0.0.1/", DIRECT),
        ("127.0.0.1", "http://127.0.0.1.test/", PROXIED),
        ("::1", "http://[::1]/", DIRECT),
        ("::1", "http://[::1]:8080/", DIRECT),
        ("::1", "http://[0:0:0:0:0:0:0:1]/", DIRECT),
        ("0:0:0:0:0:0:0:1", "http://[::1]/", DIRECT),
        ("[::1]", "http://[::1]/", DIRECT),
        ("[::1]:8080", "http://[::1]:8080/", DIRECT),
        ("[::1]:8080", "http://[::1]/", PROXIED),
        ("::1", "http://[::2]/", PROXIED),
        ("FD00::A", "http://[fd00::a]/", DIRECT),
    ]);
}

#[test]
fn network_matches_the_addresses_in_it_and_no_name() {
    check(&[
        ("10.0.0.0/8", "http://10.1.2.3/", DIRECT),
        ("10.0.0.0/8", "http://11.0.0.1/", PROXIED),
        ("10.0.0.0/8", "http://10.test/", PROXIED),
        ("10.1.2.3/8", "http://10.9.9.9/", DIRECT),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]/", DIRECT),
        ("::ffff:10.0.0.0/104", "http://10.1.2.3/", DIRECT),
        ("10.0.0.0/8:8080", "http://10.1.2.3:8080/", DIRECT),
        ("10.0.0.0/8:8080", "http://10.1.2.3/", PROXIED),
        ("0.0.0.0/0", "http://192.0.2.1/", DIRECT),
        ("0.0.0.0/0", "http://[2001:db8::1]/", PROXIED),
        ("0.0.0.0/0", "http://api.test/", PROXIED),
        ("fd00::/8", "http://[fd12::1]/", DIRECT),
        ("fd00::/8", "http://[fe80::1]/", PROXIED),
        ("[fd00::]/8", "http://[fd12::1]/", DIRECT),
        ("[fd00::]/8:8080", "http://[fd12::1]:8080/", DIRECT),
        ("::/0", "http://[2001:db8::1]/", DIRECT),
    ]);
}

#[test]
fn entries_are_separated_by_commas_or_white_space_or_both() {
    check(&[
        ("one.test,two.test", "http://two.test/", DIRECT),
        ("one.test two.test", "http://two.test/", DIRECT),
        ("localhost 10.0.0.0/8", "http://10.1.2.3/", DIRECT),
        ("localhost 10.0.0.0/8", "http://localhost/", DIRECT),
        ("one.test , two.test,", "http://two.test/", DIRECT),
        ("one.test\t\n two.test", "http://one.test/", DIRECT),
    ]);
}

#[test]
fn unreadable_entry_is_named() {
    for entry in [
        "http://api.test",
        "api.test/",
        "api.test/8",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0/8",
        "fd00::/129",
        "192.168.*",
        "api.*",
        "*api.test",
        "**",
        "*.",
        ".",
        "..",
        "..api.test",
        "*.*.test",
        "a..b",
        "api.test..",
        ".127.0.0.1",
        "*.10.0.0.1",
        "256.256.256.256",
        "api.test:",
        "api.test:0",
        "api.test:65536",
        "api.test:+80",
        "api.test:http",
        ":8080",
        "[::1",
        "[::1]x",
        "[::1]:",
        "[127.0.0.1]",
        "[api.test]",
        ":::1",
        "fe80::1%eth0",
        "%61pi.test",
        "<local>",
        "a;b.test",
        "a|b.test",
        "user@api.test",
    ] {
        let mut no_proxy = NoProxy::default();
        let unreadable = no_proxy.add(&format!("good.test, {entry}"));
        let told = unreadable.expect_err(entry).to_string();
        let named = entry.replace("user@", "…@");
        assert!(told.starts_with(&format!("the entry {named:?} ")), "{told}");
    }
}

#[test]
fn password_in_an_entry_is_not_shown() {
    let unreadable = NoProxy::default().add("http://user:hunter2@proxy:1");
    let told = unreadable.unwrap_err();
    assert!(!format!("{told} {told:?}").contains("hunter2"), "{told}");
}
