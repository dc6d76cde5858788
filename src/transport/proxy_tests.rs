use std::collections::HashMap;
use std::error::Error as _;

use super::*;
use crate::transport::target::dial;

fn from(variables: &[(&str, &str)]) -> Result<Proxies, ConfigError> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    Proxies::of(&Choice::Environment, "", |name| {
        variables.get(name).map(OsString::from)
    })
}

fn through(url: &str) -> Result<Proxies, ConfigError> {
    Proxies::of(&Choice::Through(url.to_owned()), "", |_| None)
}

fn proxy(proxies: &Proxies, url: &str) -> Option<String> {
    let url: Url = url.parse().unwrap();
    let (dial, port) = dial(&url).unwrap();
    let via = proxies.proxy_for(url.scheme() == "https", &dial, port)?;
    Some(via.shown.clone())
}

#[test]
fn environment_is_not_read_by_default() {
    let proxies = Proxies::of(&Choice::Straight, "", |_| Some("http://proxy:1".into()));
    assert_eq!(proxy(&proxies.unwrap(), "https://api.test/"), None);
}

#[test]
fn each_scheme_has_its_variable_and_all_is_for_the_rest() {
    let both = from(&[("HTTP_PROXY", "http://a:1"), ("all_proxy", "socks5h://b")]).unwrap();
    assert_eq!(proxy(&both, "http://api.test/").unwrap(), "http://a:1");
    assert_eq!(
        proxy(&both, "https://api.test/").unwrap(),
        "socks5h://b:1080"
    );
    let one = from(&[("https_proxy", "https://c")]).unwrap();
    assert_eq!(proxy(&one, "http://api.test/"), None);
    assert_eq!(proxy(&one, "https://api.test/").unwrap(), "https://c:443");
}

#[test]
fn upper_case_goes_first_and_an_empty_value_is_none() {
    let both = from(&[("HTTPS_PROXY", "a:1"), ("https_proxy", "b:2")]).unwrap();
    assert_eq!(proxy(&both, "https://api.test/").unwrap(), "http://a:1");
    let empty = from(&[("HTTPS_PROXY", ""), ("https_proxy", "b:2")]).unwrap();
    assert_eq!(proxy(&empty, "https://api.test/").unwrap(), "http://b:2");
    assert_eq!(proxy(&from(&[]).unwrap(), "https://api.test/"), None);
}

#[test]
fn httpoxy_upper_case_is_ignored_in_a_cgi_program() {
    let cgi = from(&[
        ("REQUEST_METHOD", "POST"),
        ("HTTP_PROXY", "http://evil:1"),
        ("HTTPS_PROXY", "http://a:1"),
    ]);
    let cgi = cgi.unwrap();
    assert_eq!(proxy(&cgi, "http://api.test/"), None);
    assert_eq!(proxy(&cgi, "https://api.test/").unwrap(), "http://a:1");
    let lower = from(&[("REQUEST_METHOD", "POST"), ("http_proxy", "http://b:1")]);
    assert_eq!(
        proxy(&lower.unwrap(), "http://api.test/").unwrap(),
        "http://b:1"
    );
}

#[test]
fn exceptions_are_names_with_all_below_them_addresses_and_networks() {
    let list = "internal.test, .corp.test,10.0.0.0/8,::1,127.0.0.1";
    let proxies = from(&[("ALL_PROXY", "http://a:1"), ("no_proxy", list)]).unwrap();
    for straight in [
        "http://internal.test/",
        "https://deep.internal.test:8443/",
        "https://INTERNAL.test/",
        "https://x.corp.test/",
        "http://10.1.2.3/",
        "http://[::1]/",
        // Another spelling of the same address.
        "http://0x7f.1/",
        "http://2130706433/",
    ] {
        assert_eq!(proxy(&proxies, straight), None, "{straight}");
    }
    for proxied in [
        "http://notinternal.test/",
        "http://11.0.0.1/",
        "http://[::2]/",
    ] {
        assert!(proxy(&proxies, proxied).is_some(), "{proxied}");
    }
    let star = from(&[("ALL_PROXY", "http://a:1"), ("NO_PROXY", "*")]).unwrap();
    assert_eq!(proxy(&star, "https://api.test/"), None);
}

#[test]
fn unreadable_exception_is_refused_by_the_name_of_its_variable() {
    for name in ["NO_PROXY", "no_proxy"] {
        let error = from(&[("ALL_PROXY", "http://a:1"), (name, "one.test,192.168.*")]);
        let told = error.unwrap_err().to_string();
        let start = format!("{name}: the entry \"192.168.*\" is unreadable: write");
        assert!(told.starts_with(&start), "{told}");
    }
    for choice in [Choice::Straight, Choice::Through("http://a:1".into())] {
        let error = Proxies::of(&choice, "a..b", |_| None).unwrap_err();
        let told = error.to_string();
        assert!(
            told.starts_with("transport.no_proxy: the entry \"a..b\" is"),
            "{told}"
        );
    }
}

#[test]
fn host_of_a_proxy_in_an_unusual_spelling_is_an_address() {
    for url in ["socks5h://0x7f.1", "http://127.1", "https://2130706433:1"] {
        let proxies = through(url).unwrap();
        let via = proxies.https.as_deref().unwrap();
        assert_eq!(via.dial, Dial::Address([127, 0, 0, 1].into()), "{url}");
    }
}

#[test]
fn own_exceptions_are_added_to_those_of_the_environment() {
    let read = |name: &str| match name {
        "ALL_PROXY" => Some("http://a:1".into()),
        "NO_PROXY" => Some("one.test".into()),
        _ => None,
    };
    let proxies = Proxies::of(&Choice::Environment, "two.test", read).unwrap();
    assert_eq!(proxy(&proxies, "https://one.test/"), None);
    assert_eq!(proxy(&proxies, "https://two.test/"), None);
    assert!(proxy(&proxies, "https://three.test/").is_some());
}

#[test]
fn explicit_proxy_is_for_both_schemes() {
    let proxies = through("http://us%65r:p%40ss@10.0.0.1:3128/path").unwrap();
    for url in ["http://api.test/", "https://api.test/"] {
        assert_eq!(proxy(&proxies, url).unwrap(), "http://10.0.0.1:3128");
    }
    let via = proxies.https.as_deref().unwrap();
    assert_eq!(via.dial, Dial::Address([10, 0, 0, 1].into()));
    let socks = through("socks5h://127.0.0.1").unwrap();
    let via = socks.https.as_deref().unwrap();
    assert_eq!(via.dial, Dial::Address([127, 0, 0, 1].into()));
    assert_eq!(via.port, 1_080);
}

#[test]
fn bad_url_is_refused_by_the_name_of_its_variable_and_without_its_value() {
    for bad in [
        "http://user:hunter2@proxy:99999",
        "http://user:hunter2@",
        "socks5h://user:hunter2@",
        "socks5://user:hunter2@proxy:1080",
        "ftp://user:hunter2@proxy",
        "http://user:hunter2@pro xy",
    ] {
        let error = from(&[("HTTPS_PROXY", bad)]).unwrap_err();
        let mut told = format!("{error} {error:?}");
        let mut cause = error.source();
        while let Some(error) = cause {
            told.push_str(&format!(" {error}"));
            cause = error.source();
        }
        assert!(told.starts_with("HTTPS_PROXY"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        assert!(!format!("{:?}", through(bad).unwrap_err()).contains("hunter2"));
    }
    let error = through("socks5://proxy:1080").unwrap_err().to_string();
    assert!(error.starts_with(
        "transport.proxy scheme: \"socks5\" is invalid: expected http, https or socks5h"
    ));
}

#[test]
fn credentials_are_never_shown() {
    let proxies = through("http://user:hunter2@proxy:3128").unwrap();
    let shown = format!("{proxies:?} {:?}", proxies.https);
    assert!(shown.contains("http://proxy:3128"), "{shown}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("user"),
        "{shown}"
    );
}
