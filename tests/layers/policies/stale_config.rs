//! Tests the config of stale responses: windows of destinations, contradictions, reloads.

use std::time::Duration;

use http_body_util::BodyExt;
use sevenhops::{
    Config, Consistency, DestinationConfig, Options, StandardLayer, policy::stale::StaleConfig,
};
use tokio::time::advance;
use tower::{Layer, ServiceExt};

use super::stale::{REFUSED, Shop, get, settings, stale_for};
use crate::mock::{Mock, saying, status, with};

const SECS: fn(u64) -> Duration = Duration::from_secs;

#[tokio::test(start_paused = true)]
async fn window_of_a_destination_or_a_route_holds_for_its_calls() {
    let window =
        |secs| DestinationConfig::new().stale(StaleConfig::new().consistency(stale_for(secs)));
    let config = settings().destination("shop.test", window(60)).destination(
        "shop.test/balance",
        DestinationConfig::new().stale(StaleConfig::new().consistency(Consistency::Refuse)),
    );
    for (route, is_served) in [("/wishes", true), ("/balance", false)] {
        let shop = Shop::new(&config, [status(200), REFUSED]);
        let ask = || {
            let mut request = get(None);
            request.extensions_mut().insert(Options::new().route(route));
            shop.ask(request)
        };
        ask().await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(ask().await.is_ok(), is_served, "{route}");
    }
}

#[tokio::test(start_paused = true)]
async fn window_without_a_store_is_refused() {
    let config = Config::new(SECS(10));
    let shop = Shop::new(&config, []);
    let error = shop.read().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GET https://shop.test/wishes failed at encode: invalid request (Options::consistency needs a \
         StaleLayer in the stack, or a client with a store); 1 attempt, no effect; not retried: \
         permanent failure"
    );
    assert_eq!(shop.mock.count(), 0);
    assert!(shop.ask(get(Some(Consistency::Refuse))).await.is_ok());
}

#[test]
fn contradictions_are_refused_by_name() {
    let refused = |config: Config| StandardLayer::from_config(&config).unwrap_err().to_string();
    let window = || StaleConfig::new().consistency(stale_for(60));
    let plain = || Config::new(SECS(10));
    assert_eq!(
        refused(plain().stale(window())),
        "stale.consistency.stale_for: it needs a store: set stale.store_bytes"
    );
    assert_eq!(
        refused(plain().destination("a.test", DestinationConfig::new().stale(window()))),
        "destinations.\"a.test\".stale.consistency.stale_for: it needs a store: set stale.store_bytes"
    );
    let store = || StaleConfig::new().store_bytes(1 << 20);
    assert_eq!(
        refused(plain().destination("a.test", DestinationConfig::new().stale(store()))),
        "destinations.\"a.test\".stale.store_bytes: the store is shared by all destinations: set it at the top \
         of the config"
    );
    assert_eq!(
        refused(plain().stale(store().while_revalidate(SECS(5)))),
        "stale.while_revalidate: a StandardLayer cannot send requests in the background: use a client, or put a \
         StaleLayer above"
    );
}

#[tokio::test(start_paused = true)]
async fn reload_changes_the_window_and_keeps_the_store() {
    let mock = Mock::new([saying(200, "a bicycle"), REFUSED, REFUSED]);
    let with_window = |secs| {
        let stale = StaleConfig::new()
            .store_bytes(1 << 20)
            .consistency(stale_for(secs));
        settings().stale(stale)
    };
    let layer = StandardLayer::from_config(&with_window(60)).unwrap();
    let service = layer.layer(mock.clone());
    let ask = || service.clone().oneshot(get(None));
    ask().await.unwrap().into_body().collect().await.unwrap();
    advance(SECS(30)).await;
    layer.config_handle().reload(&with_window(20)).unwrap();
    assert!(ask().await.is_err());
    layer.config_handle().reload(&with_window(40)).unwrap();
    assert!(ask().await.is_ok());
    let refreshing = settings().stale(
        StaleConfig::new()
            .store_bytes(1 << 20)
            .while_revalidate(SECS(1)),
    );
    assert!(layer.config_handle().reload(&refreshing).is_err());
}

#[tokio::test(start_paused = true)]
async fn private_response_is_not_served_after_a_reload_to_a_shared_store() {
    let private = || with(200, "cache-control", "private");
    let mock = Mock::new([private(), REFUSED, REFUSED, REFUSED]);
    let shared = |yes| {
        let stale = StaleConfig::new()
            .store_bytes(1 << 20)
            .shared(yes)
            .consistency(stale_for(60));
        settings().stale(stale)
    };
    let layer = StandardLayer::from_config(&shared(false)).unwrap();
    let service = layer.layer(mock.clone());
    let ask = || service.clone().oneshot(get(None));
    ask().await.unwrap().into_body().collect().await.unwrap();
    assert!(ask().await.is_ok());
    layer.config_handle().reload(&shared(true)).unwrap();
    assert!(ask().await.is_err());
    layer.config_handle().reload(&shared(false)).unwrap();
    assert!(ask().await.is_ok());
}
