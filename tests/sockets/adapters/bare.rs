//! Tests a bare `reqwest::Client`: it sees the setup by name, and the rest is one wait.

use std::time::Duration;

use sevenhops::testing::{CannedResponse, ClosedPort, DnsScript, FaultServer, ProxyServer, Reply};
use sevenhops::{Effect, Hop, Kind, StandardLayer, Transport, dns, sdk};

use super::world::{BoxError, Fault, Move, Street, World, base, found, keys, throttled, told};

/// Makes a call as an SDK does.
async fn call(client: &reqwest::Client, url: &str) -> Result<(u16, String), BoxError> {
    let response = client.get(format!("{url}/v1/charges")).send().await?;
    let status = response.status().as_u16();
    Ok((status, response.text().await?))
}

#[tokio::test]
async fn setup_is_named_and_later_stages_are_one_wait_without_proof() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let client = world.transport().build_reqwest().unwrap();
        let stage = world.stage(fault).await;
        let expected = match fault {
            // reqwest's error does not name this hop. Errors of all earlier hops name theirs.
            Fault::Silent => told(None, Kind::Timeout, Effect::Possible),
            Fault::Truncated => told(Hop::Receive, Kind::Incomplete, Effect::Possible),
            _ => fault.named(),
        };
        let begun = tokio::time::Instant::now();
        let told = found(call(&client, &stage.url).await);
        assert_eq!(told, expected, "{fault:?}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{fault:?}");
        assert!(stage.requests() <= 1, "{fault:?} is not retried");
    }
}

#[tokio::test]
async fn own_error_is_found_in_reqwests_and_names_the_timeout() {
    let world = World::new().await;
    let client = world.transport().build_reqwest().unwrap();
    let stage = world.stage(Fault::TlsSilent).await;
    let error = client.get(&stage.url).send().await.unwrap_err();
    let found = sdk::classify_error(&error);
    let ours = found.error().unwrap();
    assert_eq!(
        ours.timeout_kind(),
        Some(sevenhops::timeout::TimeoutKind::Tls)
    );
    assert!(found.timeline().is_none(), "no layer kept one");
    let sentence = "call failed at tls (hop 3 of 7): timeout, tls timeout; no effect";
    assert_eq!(found.to_string(), sentence);
}

#[tokio::test]
async fn throttled_and_lost_responses_are_left_to_the_sdk() {
    let world = World::new().await;
    let client = world.transport().build_reqwest().unwrap();
    let server = world.server().await;
    server.on_request([throttled(), Reply::CloseAfterRequest]);
    assert_eq!(call(&client, &base(&server)).await.unwrap().0, 429);
    let lost = client.post(base(&server)).body("amount=100").send().await;
    let lost = lost.unwrap_err();
    let found = sdk::classify_error(&lost);
    // Without a tracker, the diagnosis cannot know that the client was waiting for the response.
    assert_eq!((found.hop(), found.effect()), (None, Effect::Possible));
    assert_eq!(keys(&server), [None, None]);
}

#[tokio::test]
async fn unprocessed_request_is_sent_again_and_a_redirect_is_returned() {
    let world = World::new().await;
    let client = world.transport().build_reqwest().unwrap();
    let identity = world.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).http2();
    let server = server.start().await.unwrap();
    let redirect = CannedResponse::new(http::StatusCode::FOUND).header("location", "/elsewhere");
    server.on_request([
        Reply::ResetStream(h2::Reason::REFUSED_STREAM),
        Reply::GoAwayBelow(h2::Reason::INTERNAL_ERROR),
        redirect.into(),
    ]);
    let response = client.post(base(&server)).body("a=1").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), server.requests_seen()),
        (302, 3)
    );
}

#[tokio::test]
async fn policies_retry_an_unprocessed_request() {
    let world = World::new().await;
    let client = world.transport().build_reqwest().unwrap();
    let identity = world.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).http2();
    let server = server.start().await.unwrap();
    server.on_request((0..19).map(|_| Reply::ResetStream(h2::Reason::REFUSED_STREAM)));
    let policies = StandardLayer::new(Duration::from_secs(10)).unwrap();
    let client = reqwest_middleware::ClientBuilder::new(client).with(policies);
    let error = client.build().post(base(&server)).body("a=1").send().await;
    let found = sdk::classify_error(&error.unwrap_err()).effect();
    // As many attempts as fit into the deadline: at most ten unprocessed ones, and none by the client itself.
    let seen = server.requests_seen();
    assert!(found == Effect::None && (4..=10).contains(&seen), "{seen}");
}

#[tokio::test]
async fn new_connections_follow_dns_and_pooled_ones_do_not() {
    let world = World::new().await;
    let moved = Move::new(&world).await;
    let client = Transport::builder(world.timeouts())
        .tls(world.authority.client_config())
        .resolver(moved.dns.clone())
        .build_reqwest()
        .unwrap();
    call(&client, &base(&moved.before)).await.unwrap();
    moved.dns.move_to(2);
    call(&client, &base(&moved.before)).await.unwrap();
    assert_eq!(moved.seen(), (2, 0));
    moved.before.close_connections();
    moved
        .before
        .wait_until(|stats| stats.open_connections == 0)
        .await;
    while moved.seen().1 == 0 {
        // The pool may not have noticed the change yet.
        let _ = call(&client, &base(&moved.before)).await;
    }
}

#[tokio::test]
async fn filter_applies_to_names_and_to_addresses_in_urls() {
    let world = World::new().await;
    let server = world.server().await;
    let filter = dns::AddressFilter::public_only();
    let client = world.transport().filter(filter).build_reqwest().unwrap();
    let port = server.addr().port();
    for host in ["api.test", "127.0.0.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let told_by = call(&client, &format!("https://{host}:{port}")).await;
        assert_eq!(found(told_by), told_filtered(), "{host}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn address_and_name_of_the_proxy_are_not_filtered() {
    let world = World::new().await;
    let server = world.server().await;
    let proxy = ProxyServer::builder().start().await.unwrap();
    let port = proxy.url().rsplit(':').next().unwrap().to_owned();
    world
        .dns
        .set("proxy.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
    let client = world
        .transport()
        .filter(dns::AddressFilter::public_only())
        .proxy(format!("http://proxy.test:{}", port.trim_end_matches('/')));
    let refused = client.clone().build_reqwest().unwrap_err().to_string();
    assert!(refused.starts_with("transport.filter: "), "{refused}");
    let client = client.proxy_filters(true).build_reqwest().unwrap();
    // The proxy was reached. It looks the name up and does not find it.
    let error = call(&client, &base(&server)).await.unwrap_err();
    let told = sdk::classify_error(&*error);
    assert_eq!(
        (told.hop(), told.kind()),
        (Some(Hop::Connect), Kind::ProxyRefused),
        "{error:?}"
    );
    let literal = format!("https://127.0.0.1:{}", server.addr().port());
    let expected = told_filtered();
    assert_eq!(found(call(&client, &literal).await), expected);
}

fn told_filtered() -> super::world::Told {
    told(Hop::Dns, Kind::Filtered, Effect::None)
}

#[tokio::test]
async fn dark_address_uses_only_its_share_of_the_connect_timeout() {
    let world = World::new().await;
    let street = Street::new(&world).await;
    let calls = (0..7).map(|_| {
        let client = street.transport(&world).build_reqwest().unwrap();
        let url = street.url.clone();
        async move { assert_eq!(call(&client, &url).await.unwrap().0, 200) }
    });
    street.all_within_the_connect_limit(calls).await;
}

#[tokio::test]
async fn name_whose_addresses_all_refuse_fails_with_the_first_failure() {
    let world = World::new().await;
    let port = ClosedPort::new().unwrap();
    let addresses = [[127, 0, 0, 1], [127, 0, 0, 2]].map(Into::into);
    let client = world.transport();
    let client = client.resolver(dns::StaticResolver::new().host("api.test", addresses));
    let url = format!("https://api.test:{}", port.addr().port());
    let told_by = call(&client.build_reqwest().unwrap(), &url).await;
    assert_eq!(
        found(told_by),
        told(Hop::Connect, Kind::Refused, Effect::None)
    );
}
