//! Tests a reqwest client behind a proxy: what its errors say about the path.

use http::StatusCode;
use sevenhops::testing::{ClosedPort, DnsScript, ProxyServer};
use sevenhops::{Effect, Hop, Kind, sdk};

use super::world::{Told, World, told};

const URL: &str = "https://api.test/v1";

/// Makes a call of a bare client of this crate through this proxy. Returns its hop, kind and effect.
async fn bare(world: &World, proxy: &str) -> Told {
    let client = world.transport().proxy(proxy).build_reqwest().unwrap();
    let error = client.get(URL).send().await.unwrap_err();
    let found = sdk::classify_error(&error);
    (found.hop(), found.kind(), found.effect())
}

/// Makes the same call with a foreign client.
async fn foreign(world: &World, proxy: &str) -> Told {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(world.authority.client_config())
        .proxy(reqwest::Proxy::all(proxy).unwrap());
    let client = client.build().unwrap();
    let error = client.get(URL).send().await.unwrap_err();
    let found = sdk::classify_error(&error);
    (found.hop(), found.kind(), found.effect())
}

/// Tests both. Only a client of this crate proves that nothing was sent.
async fn both(world: &World, proxy: &str, kind: Kind) {
    let expected = told(Hop::Connect, kind, Effect::None);
    assert_eq!(bare(world, proxy).await, expected, "{proxy}");
    let expected = told(Hop::Connect, kind, Effect::Possible);
    assert_eq!(foreign(world, proxy).await, expected, "{proxy}");
}

#[tokio::test]
async fn missing_proxy_refuses_the_connect() {
    let world = World::new().await;
    let closed = ClosedPort::new().unwrap();
    for scheme in ["http", "socks5h"] {
        let proxy = format!("{scheme}://{}", closed.addr());
        both(&world, &proxy, Kind::Refused).await;
    }
}

#[tokio::test]
async fn proxy_that_rejects_the_credentials_is_named() {
    let world = World::new().await;
    let proxy = ProxyServer::builder().credentials("user", "right");
    let proxy = proxy.start().await.unwrap();
    for scheme in ["http", "socks5h"] {
        for userinfo in ["", "user:wrong@"] {
            let proxy = format!("{scheme}://{userinfo}{}", proxy.addr());
            both(&world, &proxy, Kind::ProxyUnauthorized).await;
        }
    }
}

#[tokio::test]
async fn proxy_that_refuses_the_tunnel_is_blamed() {
    let world = World::new().await;
    let proxy = ProxyServer::builder().refuse(StatusCode::BAD_GATEWAY);
    let proxy = proxy.start().await.unwrap();
    both(&world, &proxy.url(), Kind::ProxyRefused).await;
    both(&world, &proxy.socks_url(), Kind::ProxyRefused).await;
}

#[tokio::test]
async fn name_of_a_proxy_that_does_not_exist_fails_at_dns() {
    let world = World::new().await;
    world.dns.set("proxy.test", DnsScript::NxDomain);
    for scheme in ["http", "socks5h"] {
        let expected = told(Hop::Dns, Kind::NotFound, Effect::None);
        let proxy = format!("{scheme}://proxy.test:3128");
        assert_eq!(bare(&world, &proxy).await, expected, "{proxy}");
    }
}
