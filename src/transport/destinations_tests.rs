use http::HeaderMap;

use super::*;
use crate::transport::proxy::{Choice, Proxies};
use crate::transport::recent::LOOK_AGAIN;
use crate::transport::target::Target;

fn destinations() -> DestinationPools {
    DestinationPools::new(1, Bounds::new(1))
}

fn of(destinations: &DestinationPools, uri: &str, now: Instant) -> Arc<DestinationPool> {
    let uri: Uri = uri.parse().unwrap();
    let routing = || {
        let target = Target::of(&uri, &mut HeaderMap::new()).unwrap();
        let straight = Proxies::of(&Choice::Straight, "", |_| None).unwrap();
        Routing::new(target, &straight)
    };
    let recent = destinations.recent(&uri, now);
    recent.unwrap_or_else(|| destinations.of(&uri, now, routing).unwrap())
}

#[test]
fn destination_that_is_remembered_is_the_one_that_the_registry_keeps() {
    let (one, other, now) = (destinations(), destinations(), clock::now());
    let (a, b) = (
        of(&one, "http://a.test/1", now),
        of(&one, "http://b.test/", now),
    );
    for at in [now, now + LOOK_AGAIN, now] {
        for (uri, expected) in [
            ("http://a.test/2", &a),
            ("http://A.test", &a),
            ("http://a.test:80", &a),
            ("http://user@a.test/", &a),
            ("http://b.test/", &b),
            ("http://b.test/", &b),
            ("http://a.test/", &a),
        ] {
            assert!(Arc::ptr_eq(&of(&one, uri, at), expected), "{uri}");
        }
        for another in ["https://a.test/", "http://a.test:81/", "http://a.tes/"] {
            assert!(!Arc::ptr_eq(&of(&one, another, at), &a), "{another}");
        }
        let others = of(&other, "http://a.test/", at);
        assert!(!Arc::ptr_eq(&others, &a), "another transport has its own");
    }
}

#[test]
fn destination_that_is_remembered_is_not_held() {
    let (destinations, now) = (destinations(), clock::now());
    let held = Arc::downgrade(&of(&destinations, "http://a.test/", now));
    assert!(held.upgrade().is_some(), "the registry has it");
    drop(destinations);
    assert!(held.upgrade().is_none());
}

#[test]
fn destination_without_a_route_is_not_kept() {
    let (destinations, now) = (destinations(), clock::now());
    let uri = Uri::from_static("http://a.test/");
    assert_eq!(
        destinations.of(&uri, now, || Err("no way")).err(),
        Some("no way")
    );
    assert_eq!(destinations.known.each(|_, _| ()).len(), 0);
}

#[test]
fn route_to_a_destination_is_computed_once() {
    let (destinations, now) = (destinations(), clock::now());
    let destination = of(&destinations, "http://127.0.0.1:8080/1", now);
    assert_eq!(destination.routing.host, "127.0.0.1:8080");
    let literal = destination.routing.literal.as_ref().unwrap();
    assert_eq!(literal.addresses(), [IpAddr::from([127, 0, 0, 1])]);
    let none = Arc::new(crate::config_error::ConfigError::refused("tls", "none"));
    let route = || {
        destination
            .routing
            .route(Err(&none), Identity::Shown)
            .unwrap()
    };
    assert!(Arc::ptr_eq(route(), route()));
    let uri = Uri::from_static("http://127.0.0.1:8080/2");
    assert!(destinations.of(&uri, now, || Err("asked again")).is_ok());
    let secure = of(&destinations, "https://127.0.0.1:8080/", now);
    assert!(secure.routing.route(Err(&none), Identity::Shown).is_err());
}
