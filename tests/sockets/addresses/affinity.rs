//! The calls of a session stay on one address, and the timeline shows when they cannot.

use std::time::Duration;

use http::Request;
use sevenhops::{
    Body, Client, DeadlineLayer, Effect, Error, Hop, Kind, Options, StandardLayer, Timeline,
    Timeouts, Transport,
    testing::{DnsScript, FaultServer, Reply},
};

use tower::{Layer, ServiceExt, service_fn};

use super::{at, host, peer, url};
use crate::net::Net;

/// Three replicas of one service, and their names' server.
async fn replicas() -> (Net, Vec<FaultServer>, String) {
    let net = Net::new().await;
    let first = at(1, 0).await;
    let port = first.addr().port();
    let servers = vec![first, at(2, port).await, at(3, port).await];
    let addresses = [host(1), host(2), host(3)];
    net.dns.set("pay.test", DnsScript::addresses(addresses));
    (net, servers, url(port))
}

async fn read(client: &Client, url: &str, key: &str) -> Timeline {
    let response = client
        .get(url)
        .options(|options| options.affinity(key))
        .send()
        .await
        .unwrap();
    let timeline = response.timeline().cloned().unwrap();
    response.bytes().await.unwrap();
    timeline
}

#[tokio::test]
async fn every_call_of_a_session_goes_to_its_address_from_every_client() {
    let (net, servers, url) = replicas().await;
    let (one, other) = (net.client(), net.client());
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let own = peer(&read(&one, &url, key).await);
        for client in [&one, &other, &one] {
            let timeline = read(client, &url, key).await;
            assert_eq!(peer(&timeline), own, "{key}");
            assert!(!timeline.attempts()[0].is_affinity_moved());
        }
    }
    for server in servers {
        assert!(server.requests_seen() > 0, "{}", server.addr());
    }
}

#[tokio::test]
async fn call_that_fails_at_its_address_goes_to_the_next_one_and_says_what_that_means() {
    let (net, servers, url) = replicas().await;
    let client = net.client();
    let own = peer(&read(&client, &url, "session").await);
    let server = servers.iter().find(|server| server.addr().ip() == own);
    server.unwrap().on_request([Reply::CloseAfterRequest]);
    let timeline = read(&client, &url, "session").await;
    let [lost, moved] = &timeline.attempts()[..] else {
        panic!("{timeline}");
    };
    assert_eq!(lost.peer_addr().unwrap().ip(), own);
    assert_ne!(moved.peer_addr().unwrap().ip(), own);
    assert_eq!(
        (lost.is_affinity_moved(), moved.is_affinity_moved()),
        (false, true)
    );
    let drawn = timeline.to_string();
    assert_eq!(
        drawn.matches("reads may go back in time").count(),
        1,
        "{drawn}"
    );
    // Its own address serves it again. That replica may be behind the one that served it meanwhile.
    let back = read(&client, &url, "session").await;
    assert_eq!(peer(&back), own);
    assert!(back.attempts()[0].is_affinity_moved());
}

#[tokio::test]
async fn address_that_refuses_loses_its_sessions_within_the_call() {
    let (net, mut servers, url) = replicas().await;
    let own = peer(&read(&net.client(), &url, "session").await);
    let at = servers.iter().position(|server| server.addr().ip() == own);
    servers.remove(at.unwrap()).stop().await;
    let timeline = read(&net.client(), &url, "session").await;
    let [attempt] = &timeline.attempts()[..] else {
        panic!("{timeline}");
    };
    assert!(
        attempt.is_affinity_moved() && peer(&timeline) != own,
        "{timeline}"
    );
}

#[tokio::test]
async fn key_of_a_session_is_not_kept() {
    let (net, _servers, url) = replicas().await;
    let timeline = read(&net.client(), &url, "canary-4711").await;
    let options = Options::new().affinity("canary-4711");
    let json = serde_json::to_string(&timeline).unwrap();
    for shown in [
        format!("{timeline:?}{options:?}"),
        timeline.to_string(),
        json,
    ] {
        assert!(!shown.contains("canary"), "{shown}");
    }
}

fn refused(error: &Error, why: &str) {
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Encode), Kind::InvalidRequest)
    );
    assert!(error.to_string().contains(why), "{error}");
}

fn request(url: &str) -> Request<Body> {
    let request = Request::get(url).extension(Options::new().affinity("session"));
    request.body(Body::empty()).unwrap()
}

const ELSEWHERE: &str = "Options::affinity needs a Transport below";

#[tokio::test]
async fn client_with_addresses_of_its_own_is_refused_before_anything_is_sent() {
    let (net, servers, url) = replicas().await;
    let deadline = Duration::from_secs(10);
    let timeouts = Timeouts::new(deadline).unwrap();
    let hops = Transport::builder(timeouts).resolver(net.dns.resolver());
    let hops = hops
        .tls(net.authority.client_config())
        .build_hyper()
        .unwrap();
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let pooled = hops.layer().layer(client.build(hops.http_connector()));
    let standard = StandardLayer::new(deadline).unwrap();
    let error = standard.layer(pooled).oneshot(request(&url)).await;
    refused(&error.unwrap_err(), ELSEWHERE);
    let over = standard.layer(Transport::over(
        sevenhops::sdk::bare::client(deadline).unwrap(),
    ));
    let error = over.oneshot(request(&url)).await.unwrap_err();
    refused(&error, ELSEWHERE);
    assert_eq!(error.effect(), Effect::None);
    let seen = servers.iter().map(FaultServer::requests_seen);
    assert_eq!(seen.sum::<usize>(), 0);
}

#[tokio::test]
async fn foreign_service_is_refused_by_its_response() {
    let foreign = service_fn(async |_request: Request<Body>| {
        Ok::<_, std::io::Error>(http::Response::new(String::new()))
    });
    let standard = StandardLayer::new(Duration::from_secs(10)).unwrap();
    let url = "http://pay.test/v1";
    let error = standard.layer(foreign).oneshot(request(url)).await;
    let error = error.unwrap_err();
    refused(&error, ELSEWHERE);
    assert_eq!(error.effect(), Effect::Done, "it was sent");
    assert_eq!(error.attempts(), 1);
    // Without an attempt layer, too.
    let deadline = DeadlineLayer::new(Duration::from_secs(10)).unwrap();
    let error = deadline.layer(foreign).oneshot(request(url)).await;
    let error = error.unwrap_err();
    refused(&error, ELSEWHERE);
    assert_eq!(error.effect(), Effect::Done, "it was sent");
}

#[tokio::test]
async fn stacks_over_a_transport_keep_the_session() {
    let (net, _servers, url) = replicas().await;
    let own = peer(&read(&net.client(), &url, "session").await);
    let deadline = Duration::from_secs(10);
    let timeouts = Timeouts::new(deadline).unwrap();
    let transport = Transport::builder(timeouts).resolver(net.dns.resolver());
    let transport = transport
        .tls(net.authority.client_config())
        .build()
        .unwrap();
    let standard = StandardLayer::new(deadline).unwrap();
    for _ in 0..3 {
        let one = standard.layer(transport.clone()).oneshot(request(&url));
        let body = one.await.unwrap().into_body();
        assert_eq!(peer(body.timeline()), own);
        let two = standard.layer(standard.layer(transport.clone()));
        let response = two.oneshot(request(&url)).await.unwrap();
        assert_eq!(response.status(), 200);
        let timed = DeadlineLayer::new(deadline).unwrap();
        let timed = timed.layer(transport.clone()).oneshot(request(&url));
        assert_eq!(timed.await.unwrap().status(), 200);
        let alone = transport.clone().oneshot(request(&url));
        let body = alone.await.unwrap().into_body();
        let body = http_body_util::BodyExt::collect(body).await.unwrap();
        let own = format!("{{\"host\":{}}}", own.to_string().replace("127.0.0.", ""));
        assert_eq!(body.to_bytes(), own);
    }
}

#[tokio::test]
async fn proxy_and_empty_key_are_refused_by_name() {
    let (net, servers, url) = replicas().await;
    let proxy = format!("http://{}", servers[0].addr());
    let proxied = net
        .builder()
        .transport(|transport| transport.proxy(proxy))
        .build()
        .unwrap();
    let error = proxied
        .get(&url)
        .options(|options| options.affinity("session"))
        .send()
        .await;
    refused(&error.unwrap_err(), "a proxy chooses the address itself");
    let error = net
        .client()
        .get(&url)
        .options(|options| options.affinity(""))
        .send()
        .await;
    refused(&error.unwrap_err(), "needs a key that names a session");
    assert_eq!(servers[0].requests_seen(), 0);
}
