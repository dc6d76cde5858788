//! Retries within the deadline, and what is left of an attempt that was given up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use sevenhops::IdempotencyConfig;
use sevenhops::TimeoutsConfig;
use sevenhops::policy::breaker::CircuitState;
use sevenhops::testing::{CannedResponse, ConnFault, FaultServer, Gate, Reply};
use sevenhops::timeout::TimeoutKind;
use sevenhops::{Destination, Effect, Hop, Kind, Policy};

use super::{MS, quick};
use crate::net::{Net, url};

#[tokio::test]
async fn deadline_that_passes_in_the_handshake_of_attempt_2_names_it() {
    let net = Net::new().await;
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    server.on_connection([ConnFault::CloseAtOnce, ConnFault::Silent]);
    let long = TimeoutsConfig::new().attempt(MS(600)).tls(MS(600));
    let client = net
        .builder()
        .config(|config| config.retry(quick()).timeouts(long))
        .build()
        .unwrap();
    let deadline = Duration::from_millis(600);
    let get = client
        .post(url(&server, "https"))
        .options(|options| options.deadline(deadline));
    let error = get.send().await.unwrap_err();
    assert_eq!((error.hop(), error.kind()), (Some(Hop::Tls), Kind::Timeout));
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
    assert_eq!((error.attempts(), error.effect()), (2, Effect::None));
}

#[tokio::test]
async fn open_breaker_sends_nothing_and_keeps_the_cause() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(Reply::CloseAfterRequest);
    let once = quick().attempts(1);
    let client = net
        .builder()
        .config(|config| config.retry(once))
        .build()
        .unwrap();
    let url = url(&server, "http");
    for _ in 0..20 {
        let error = client.post(&url).send().await.unwrap_err();
        assert_eq!(error.hop(), Some(Hop::Server));
    }
    let error = client.post(&url).send().await.unwrap_err();
    assert_eq!(
        (error.rejected_by(), error.effect()),
        (Some(Policy::Breaker), Effect::None)
    );
    assert!(
        error
            .retry_after()
            .is_some_and(|wait| wait > Duration::from_secs(4))
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "20 of 20 attempts failed, 20 at server (closed)");
    assert_eq!(server.requests_seen(), 20);
    let destination: Destination = url.trim_end_matches("/v1/charges").parse().unwrap();
    assert_eq!(
        client.breaker_handle().state(&destination),
        CircuitState::Open
    );
}

#[tokio::test]
async fn caller_that_goes_away_while_connecting_does_not_count_for_the_breaker() {
    let net = Net::new().await;
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    server.on_connection((0..30).map(|_| ConnFault::Silent));
    let client = net.client();
    for connection in 1..=30 {
        let mut calling = Box::pin(client.get(url(&server, "https")).send());
        tokio::select! {
            _ = &mut calling => panic!("the server never responds"),
            _ = server.wait_until(move |stats| stats.connections >= connection) => {}
        }
    }
    let response = client.get(url(&server, "https")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.timeline().unwrap().attempt_count(), 1);
}

#[tokio::test]
async fn retry_of_a_request_behind_a_stream_limit_arrives_once() {
    let net = Net::new().await;
    let server = net.http2().await;
    server.on_connection([ConnFault::MaxStreams(1)]);
    let occupant = Arc::new(Mutex::new(None));
    let freeing = Arc::clone(&occupant);
    let builder = net.builder().config(|config| config.retry(quick()));
    let builder =
        builder.config(|config| config.timeouts(TimeoutsConfig::new().attempt(MS(1_000))));
    let builder = builder.transport(|transport| transport.max_connections(1));
    // The classifier frees the stream as soon as the first attempt of the POST has failed.
    let client = builder.classify(move |failure| {
        if failure.method() == Method::POST {
            drop(freeing.lock().unwrap().take());
        }
        None
    });
    let (client, url) = (client.build().unwrap(), url(&server, "https"));
    client
        .get(&url)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    server.on_request([Reply::StallInBody {
        declared: 100,
        sent: Bytes::from_static(b"half"),
    }]);
    let response = client.get(&url).send().await.unwrap();
    *occupant.lock().unwrap() = Some(response);
    let mut queued = Box::pin(
        client
            .put(&url)
            .body("queued")
            .options(|options| options.retry(false))
            .send(),
    );
    tokio::select! {
        biased;
        _ = &mut queued => panic!("the stream is taken"),
        () = std::future::ready(()) => {}
    }
    let post = client.post(&url).body("amount=100").send();
    let (queued, response) = tokio::join!(queued, post);
    assert_eq!(queued.unwrap_err().kind(), Kind::ConnectionLimit);
    let response = response.unwrap();
    assert_eq!(response.timeline().unwrap().attempt_count(), 2);
    let ours = |seen: &&sevenhops::testing::RecordedRequest| seen.body == "amount=100";
    let seen = server.requests();
    assert_eq!(seen.iter().filter(ours).count(), 1, "{seen:?}");
    let late =
        |seen: &&sevenhops::testing::RecordedRequest| seen.body == "queued" && seen.body_complete;
    assert_eq!(seen.iter().filter(late).count(), 0, "{seen:?}");
}

#[tokio::test]
async fn response_after_the_timeout_is_discarded_with_its_connection() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let gate = Gate::new();
    let late = CannedResponse::json(r#"{"late":true}"#).hold(&gate);
    server.on_request([late.into()]);
    let short = TimeoutsConfig::new().attempt(MS(300));
    let client = net
        .builder()
        .config(|config| config.retry(quick()).timeouts(short))
        .build()
        .unwrap();
    let response = client.get(url(&server, "http")).send().await.unwrap();
    gate.open();
    assert_eq!(response.timeline().unwrap().attempt_count(), 2);
    assert_eq!(response.text().await.unwrap(), r#"{"ok":true}"#);
    server.wait_until(|stats| stats.open_connections == 1).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn retry_arrives_and_the_given_up_attempt_does_not() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([Reply::Silent]);
    let short = TimeoutsConfig::new().attempt(MS(300));
    let all = IdempotencyConfig::new().honored_by_all(true);
    let builder = net
        .builder()
        .config(|config| config.retry(quick()).timeouts(short).idempotency(all));
    let post = builder.build().unwrap().post(url(&server, "http"));
    let response = post.body("amount=100").send().await.unwrap();
    assert_eq!(response.timeline().unwrap().attempt_count(), 2);
    server.wait_until(|stats| stats.given_up == 1).await;
    assert_eq!(server.requests_seen(), 2);
}
