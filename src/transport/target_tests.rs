use super::*;
use crate::hop::{Hop, Kind};

fn target(uri: &str) -> (Result<Target, Error>, HeaderMap) {
    let mut headers = HeaderMap::new();
    (Target::of(&uri.parse().unwrap(), &mut headers), headers)
}

#[test]
fn userinfo_becomes_a_sensitive_header() {
    let (target, headers) = target("https://us%65r:p%40ss@api.test/v1?a=b");
    let target = target.unwrap();
    assert_eq!((target.authority.as_str(), target.port), ("api.test", 443));
    let value = &headers[header::AUTHORIZATION];
    assert_eq!(value, "Basic dXNlcjpwQHNz");
    assert!(value.is_sensitive());
}

#[test]
fn plain_urls_are_read_as_the_url_standard_reads_them() {
    let mut plain = 0;
    for uri in [
        "http://api.test/v1",
        "https://api.test:8443/v1?a=b",
        "https://api.test:443",
        "http://api.test:80/",
        "http://api.test./",
        "http://a_b.api-1.test/",
        "http://127.0.0.1:8080/",
        "http://[::1]/",
        "http://[0:0::1]:80/",
        "http://127.1/",
        "http://1.2.3.4.5/",
        "http://0x7f.0.0.1/",
        "http://api.0x7f/",
        "http://api.1/",
        "http://API.test/",
        "http://b%C3%BCcher.test/",
        "http://xn--bcher-kva.test/",
        "http://user@api.test/",
        "http://api.test:99999/",
    ] {
        let Ok(uri) = uri.parse::<Uri>() else {
            continue;
        };
        let parsed = Target::parsed(&uri, &mut HeaderMap::new());
        let Some(quick) = Target::plain(&uri) else {
            continue;
        };
        plain += 1;
        let parsed = parsed.unwrap();
        assert_eq!(
            (quick.is_secure, quick.port),
            (parsed.is_secure, parsed.port),
            "{uri}"
        );
        assert_eq!(
            (quick.dial, quick.host),
            (parsed.dial, parsed.host),
            "{uri}"
        );
    }
    assert_eq!(plain, 9);
}

#[test]
fn literals_of_any_spelling_are_dialed_without_a_lookup() {
    for uri in ["http://127.0.0.1/", "http://0x7f.1/", "http://2130706433/"] {
        let dial = target(uri).0.unwrap().dial;
        assert_eq!(dial, Dial::Address([127, 0, 0, 1].into()), "{uri}");
    }
    let v6 = target("https://[::1]:8443/").0.unwrap();
    assert_eq!((&*v6.host, v6.port), ("::1", 8443));
}

#[test]
fn host_of_any_scheme_is_read_as_the_url_standard_reads_it() {
    for host in ["127.1", "0x7f.1", "0177.0.0.1", "2130706433", "127.0.0.1."] {
        for scheme in ["http", "foo"] {
            let url = format!("{scheme}://{host}:80/").parse().unwrap();
            let dial = dial(&url).unwrap().0;
            assert_eq!(dial, Dial::Address([127, 0, 0, 1].into()), "{url}");
        }
    }
    let escaped = "foo://%31%32%37.0.0.1/".parse().unwrap();
    let dial = Dial::Address([127, 0, 0, 1].into());
    assert_eq!(host(&escaped).unwrap(), dial);
    assert!(read_host("256.256.256.256").is_err());
    assert!(read_host("1.2.3.4.5").is_err());
}

#[test]
fn unsupported_version_is_refused_at_encode() {
    for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_3] {
        let error = speakable(version).unwrap_err();
        assert_eq!(
            (error.hop(), error.effect()),
            (Some(Hop::Encode), crate::hop::Effect::None)
        );
    }
    assert!(speakable(Version::default()).is_ok() && speakable(Version::HTTP_2).is_ok());
}

#[test]
fn unsupported_scheme_is_refused_at_encode() {
    for uri in ["ftp://api.test/", "/v1/charges", "api.test"] {
        let error = target(uri).0.unwrap_err();
        assert_eq!(
            (error.hop(), error.kind()),
            (Some(Hop::Encode), Kind::InvalidRequest)
        );
    }
}
