use super::super::EndpointConfig;
use super::*;
use crate::clock;
use crate::hop::{Hop, Kind};

fn two() -> Arc<Endpoints> {
    let config = EndpointsConfig::new()
        .endpoint(EndpointConfig::new("https://eu.pay.test/api/"))
        .endpoint(EndpointConfig::new("https://us.pay.test:8443").priority(1));
    Endpoints::new(&[("pay.internal".to_owned(), config)], None).unwrap()
}

fn choose(endpoints: &Endpoints, uri: &str, now: Instant) -> Option<EndpointChoice> {
    endpoints.choose(&uri.parse().unwrap(), || 7, now).unwrap()
}

#[tokio::test(start_paused = true)]
async fn path_and_query_are_appended_to_the_base_url_of_each_endpoint() {
    let (endpoints, now) = (two(), clock::now());
    let mut choice = choose(&endpoints, "https://PAY.internal/v1?a=b", now).unwrap();
    let told = |choice: &EndpointChoice| choice.uri().unwrap().to_string();
    assert_eq!(told(&choice), "https://eu.pay.test/api/v1?a=b");
    assert!(!choice.shares_keys());
    for (url, is_untried) in [
        ("https://us.pay.test:8443/v1?a=b", true),
        ("https://eu.pay.test/api/v1?a=b", false),
    ] {
        let next = choice.next(now, |_| false).unwrap();
        choice.go_on(&next);
        assert_eq!((&*told(&choice), next.is_untried), (url, is_untried));
    }
    assert!(choose(&endpoints, "https://eu.pay.test/v1", now).is_none());
    assert!(choose(&endpoints, "/v1", now).is_none());
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_was_rejected_is_left_out_until_its_circuit_is_closed() {
    let (endpoints, now) = (two(), clock::now());
    let mut choice = choose(&endpoints, "https://pay.internal/", now).unwrap();
    choice.reject();
    let untried = choice.next(now, |_| false).unwrap();
    choice.go_on(&untried);
    assert!(choice.next(now, |_| false).is_none());
    let next = choice.next(now, |uri| uri.host() == Some("eu.pay.test"));
    assert_eq!(next.unwrap().uri.host(), Some("eu.pay.test"));
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_cannot_be_reached_is_set_aside_for_all_calls() {
    let (endpoints, now) = (two(), clock::now());
    let at = |now| choose(&endpoints, "https://pay.internal/", now).unwrap();
    let host = |choice: &EndpointChoice| choice.uri().unwrap().host().unwrap().to_owned();
    at(now).record(Some(&Diagnosis::unsent(Hop::Connect, Kind::Refused)), now);
    assert_eq!(host(&at(now)), "us.pay.test");
    let later = now + Duration::from_secs(1);
    let mut trial = at(later);
    assert_eq!(
        (host(&trial), trial.is_trial),
        ("eu.pay.test".to_owned(), true)
    );
    assert_eq!(host(&at(later)), "us.pay.test", "one trial");
    trial.record(None, later);
    assert_eq!(host(&at(later)), "eu.pay.test");
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_may_be_asked_first_is_next_once_all_were_tried() {
    let (endpoints, now) = (two(), clock::now());
    let hint = |secs| EndpointHint {
        until: now + Duration::from_secs(secs),
        by_server: true,
    };
    for (eu, us, stays) in [
        (None, None, false),
        (Some(60), None, true),
        (None, Some(60), false),
        (Some(5), Some(60), false),
        (Some(60), Some(5), true),
        (Some(5), Some(5), false),
    ] {
        let mut choice = choose(&endpoints, "https://pay.internal/", now).unwrap();
        choice.hinted(eu.map(hint));
        let next = choice.next(now, |_| false).unwrap();
        assert!(next.is_untried && next.hint.is_none());
        choice.go_on(&next);
        choice.hinted(us.map(hint));
        let next = choice.next(now, |_| false);
        assert_eq!(next.is_none(), stays, "{eu:?} {us:?}");
        assert_eq!(
            next.and_then(|next| next.hint),
            eu.filter(|_| !stays).map(hint)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn health_outlives_a_reload_for_the_endpoints_that_stay() {
    let (before, now) = (two(), clock::now());
    let choice = |endpoints: &Endpoints| choose(endpoints, "https://pay.internal/", now).unwrap();
    let host = |choice: &EndpointChoice| choice.uri().unwrap().host().unwrap().to_owned();
    let mut in_flight = choice(&before);
    let gone = Diagnosis::unsent(Hop::Connect, Kind::Refused);
    let config = EndpointsConfig::new()
        .endpoint(EndpointConfig::new("https://new.pay.test").priority(2))
        .endpoint(EndpointConfig::new("https://eu.pay.test/v2"));
    let after = [("pay.internal".to_owned(), config)];
    let after = Endpoints::new(&after, Some(&before)).unwrap();
    assert_eq!(host(&choice(&after)), "eu.pay.test");
    // A call of the old config still reports what it saw.
    in_flight.record(Some(&gone), now);
    assert_eq!(host(&choice(&after)), "new.pay.test");
}
