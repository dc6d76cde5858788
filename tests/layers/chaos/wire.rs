//! Tests faults in the client's own transport, and whether the request reaches the server.

use sevenhops::chaos::{ChaosConfig, ChaosLayer, Fault};
use sevenhops::hop::Stage;
use sevenhops::testing::FaultServer;
use sevenhops::{Client, Effect, Hop, Kind};

use super::faults::quiet;
use crate::net::{Net, url};

fn client(net: &Net, chaos: &ChaosLayer) -> Client {
    net.builder()
        .transport(|transport| transport.chaos(chaos.clone()))
        .build()
        .unwrap()
}

#[tokio::test]
async fn unsent_fault_sends_no_byte() {
    let (net, chaos) = (Net::new().await, quiet());
    let server = FaultServer::builder().start().await.unwrap();
    let client = client(&net, &chaos);
    chaos
        .enqueue([Fault::RefuseConnect, Fault::BreakConnection])
        .unwrap();
    let post = || client.post(url(&server, "http")).body("amount=100");
    for (hop, kind) in [(Hop::Connect, Kind::Refused), (Hop::Send, Kind::Closed)] {
        let error = post()
            .options(|options| options.retry(false))
            .send()
            .await
            .unwrap_err();
        let found = (error.hop(), error.kind(), error.effect());
        assert_eq!(found, (Some(hop), kind, Effect::None));
        assert_eq!(server.connections(), 0);
    }
    chaos.enqueue([Fault::RefuseConnect]).unwrap();
    let response = post().send().await.unwrap();
    assert_eq!(response.timeline().unwrap().attempt_count(), 2);
    assert_eq!(server.requests()[0].body, "amount=100");
    assert_eq!(server.requests_seen(), 1);
}

#[tokio::test]
async fn request_with_a_dropped_response_arrives_complete() {
    let (net, chaos) = (Net::new().await, quiet());
    let server = FaultServer::builder().start().await.unwrap();
    let client = client(&net, &chaos);
    chaos.enqueue([Fault::DropResponse]).unwrap();
    let post = client.post(url(&server, "http")).body("amount=100");
    let error = post.send().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Server), Kind::Closed)
    );
    assert_eq!(error.effect(), Effect::Possible);
    assert!(server.requests()[0].body_complete);
    let rows = error.timeline().unwrap().attempts()[0].stages().to_vec();
    let stages: Vec<_> = rows.iter().map(|row| row.stage()).collect();
    assert_eq!(
        stages,
        [Stage::Dns, Stage::Connect, Stage::Send, Stage::Wait]
    );
}

#[tokio::test]
async fn body_that_broke_off_leaves_the_effect_done_and_is_received_again() {
    let (net, chaos) = (Net::new().await, quiet());
    let server = FaultServer::builder().start().await.unwrap();
    let client = client(&net, &chaos);
    chaos.enqueue([Fault::BreakBody]).unwrap();
    let response = client.post(url(&server, "http")).send().await.unwrap();
    let error = response.bytes().await.unwrap_err();
    let found = (error.hop(), error.kind(), error.effect());
    assert_eq!(found, (Some(Hop::Receive), Kind::Incomplete, Effect::Done));

    chaos.enqueue([Fault::BreakBody]).unwrap();
    let whole = client.get(url(&server, "http")).fetch_bytes().await;
    assert_eq!(whole.unwrap(), r#"{"ok":true}"#);
    assert_eq!(server.requests_seen(), 3);
}

#[tokio::test]
async fn client_with_chaos_and_no_fault_works_as_without_chaos() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let chaos = ChaosLayer::new(ChaosConfig::new(0).inject(Fault::Silence, 1.0)).unwrap();
    let client = client(&net, &chaos);
    chaos.set_enabled(false);
    for _ in 0..2 {
        let response = client.get(url(&server, "http")).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), r#"{"ok":true}"#);
    }
    assert_eq!((server.connections(), chaos.injected()), (1, 0));
}
