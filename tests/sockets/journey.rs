//! Tests successful calls, stage by stage, and calls that are dropped by one side.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rustls::crypto::ring::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use sevenhops::hop::Blame;
use sevenhops::hop::{Outcome, Stage, StageOutcome};
use sevenhops::testing::{
    CannedResponse, ClosedPort, ConnFault, DnsScript, FaultServer, Gate, Reply, TimelineRecorder,
};
use sevenhops::timeout::{TimeoutKind, TimeoutsConfig};
use sevenhops::{Client, Effect, Hop, Kind, Timeline};

use crate::net::{Net, url};

async fn tls_server(net: &Net) -> FaultServer {
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity);
    server.start().await.unwrap()
}

fn stages(timeline: &Timeline) -> Vec<(Stage, StageOutcome)> {
    let attempts = timeline.attempts();
    let rows = attempts.iter().flat_map(|attempt| attempt.stages());
    rows.map(|row| (row.stage(), row.outcome())).collect()
}

async fn good(client: &Client, url: &str) -> Timeline {
    let response = client.post(url).body("amount=100").send().await.unwrap();
    let timeline = response.timeline().cloned().unwrap();
    assert_eq!(response.text().await.unwrap(), r#"{"ok":true}"#);
    assert_eq!(timeline.outcome(), Some(Outcome::Responded(StatusCode::OK)));
    timeline
}

fn left(stages: &[Stage]) -> Vec<(Stage, StageOutcome)> {
    stages
        .iter()
        .map(|stage| (*stage, StageOutcome::Completed))
        .collect()
}

use Stage::{Connect, Dns, Receive, Send, Tls, Wait};

#[tokio::test]
async fn plain_http_on_a_new_connection() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let timeline = good(&net.client(), &url(&server, "http")).await;
    let expected = left(&[Dns, Connect, Send, Wait, Receive]);
    assert_eq!(stages(&timeline), expected, "{timeline}");
    assert!(!timeline.attempts()[0].is_reused());
}

#[tokio::test]
async fn https_on_a_new_connection_then_on_the_pooled_one() {
    let net = Net::new().await;
    let server = tls_server(&net).await;
    let (client, url) = (net.client(), url(&server, "https"));
    let timeline = good(&client, &url).await;
    let expected = left(&[Dns, Connect, Tls, Send, Wait, Receive]);
    assert_eq!(stages(&timeline), expected, "{timeline}");

    let timeline = good(&client, &url).await;
    assert_eq!(
        stages(&timeline),
        left(&[Send, Wait, Receive]),
        "{timeline}"
    );
    let attempt = &timeline.attempts()[0];
    assert!(attempt.is_reused() && attempt.is_dns_cached());
    assert_eq!(attempt.tls_version(), Some("1.3"));
    let drawn = timeline.to_string();
    for fact in [" · reused connection, ", " old · HTTP/1.1", "TLS 1.3"] {
        assert!(drawn.contains(fact), "{drawn}");
    }
    assert!(
        drawn.lines().all(|line| line.chars().count() <= 80),
        "{drawn}"
    );
    assert_eq!((attempt.sent_bytes(), attempt.received_bytes()), (10, 11));
    assert_eq!(server.connections(), 1);
    assert_eq!(net.dns.queries_for("api.test"), 2, "A and AAAA, once each");
}

#[tokio::test]
async fn tls_version_is_recorded_on_new_reused_and_resumed_connections() {
    let net = Net::new().await;
    let server = tls_server(&net).await;
    let url = url(&server, "https");
    let mut roots = RootCertStore::empty();
    roots.add(net.authority.root()).unwrap();
    for (version, told) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let client = net
            .builder()
            .transport(|transport| transport.tls(tls))
            .build()
            .unwrap();
        for reused in [false, true] {
            let timeline = good(&client, &url).await;
            let attempt = &timeline.attempts()[0];
            assert_eq!(
                (attempt.tls_version(), attempt.is_reused()),
                (Some(told), reused)
            );
            assert_eq!(attempt.alpn(), Some("http/1.1"));
            assert_eq!(attempt.is_tls_resumed(), Some(false));
            assert!(!timeline.to_string().contains("resumed"), "{timeline}");
        }
        server.close_connections();
        server.wait_until(|stats| stats.open_connections == 0).await;
        // If the pool has not noticed the closed connection yet, the second attempt is the resumed one.
        let response = client.get(&url).send().await.unwrap();
        let timeline = response.timeline().unwrap();
        let resumed = timeline.attempts().pop().unwrap();
        assert_eq!(
            (resumed.tls_version(), resumed.is_reused()),
            (Some(told), false)
        );
        assert_eq!(resumed.is_tls_resumed(), Some(true));
        let drawn = timeline.to_string();
        assert!(
            drawn.contains(&format!("TLS {told}, resumed")),
            "{timeline}"
        );
    }
    let plain = FaultServer::builder().start().await.unwrap();
    let timeline = good(&net.client(), &plain.url("/v1/charges")).await;
    let attempt = &timeline.attempts()[0];
    assert_eq!(
        (
            attempt.tls_version(),
            attempt.alpn(),
            attempt.is_tls_resumed()
        ),
        (None, None, None)
    );
}

#[tokio::test]
async fn http2_is_negotiated_and_multiplexed() {
    let net = Net::new().await;
    let server = net.http2().await;
    let (client, url) = (net.client(), url(&server, "https"));
    good(&client, &url).await;
    let timeline = good(&client, &url).await;
    let attempt = &timeline.attempts()[0];
    assert_eq!(attempt.version(), Some(http::Version::HTTP_2));
    assert!(attempt.is_reused());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn ip_literal_is_not_looked_up() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let timeline = good(&net.client(), &server.url("/v1/charges")).await;
    assert_eq!(stages(&timeline), left(&[Connect, Send, Wait, Receive]));
    assert_eq!(net.dns.queries().len(), 0);
}

#[tokio::test]
async fn second_address_is_tried_when_the_first_refuses() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let port = server.addr().port();
    let _closed = ClosedPort::at(([127, 0, 0, 2], port).into()).unwrap();
    let both = [[127, 0, 0, 2].into(), [127, 0, 0, 1].into()];
    net.dns.set("api.test", DnsScript::addresses(both));

    let timeline = good(&net.client(), &url(&server, "http")).await;

    let mut expected = left(&[Dns, Connect, Connect, Send, Wait, Receive]);
    expected[1].1 = StageOutcome::Failed(Kind::Refused);
    assert_eq!(stages(&timeline), expected, "{timeline}");
    let rows = timeline.attempts()[0].stages().to_vec();
    assert_eq!(rows[1].address().unwrap().ip().to_string(), "127.0.0.2");
    assert_eq!(rows[2].address().unwrap().ip().to_string(), "127.0.0.1");
    let seen = server.requests();
    assert_eq!((seen.len(), &seen[0].body[..]), (1, &b"amount=100"[..]));
}

#[tokio::test]
async fn unread_body_ends_receive_with_the_delivered_bytes() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let stall = Reply::StallInBody {
        declared: 100,
        sent: Bytes::from_static(b"half"),
    };
    server.on_request([stall]);
    let sent = net.client().get(url(&server, "http")).send().await;
    let mut response = sent.unwrap();
    let timeline = response.timeline().cloned().unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "half");
    drop(response);
    assert_eq!(
        stages(&timeline).last(),
        Some(&(Receive, StageOutcome::Completed))
    );
    assert_eq!(timeline.attempts()[0].received_bytes(), 4);
}

#[tokio::test]
async fn last_piece_of_a_body_ends_its_attempt_however_long_the_body_is_kept() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([CannedResponse::json("[1]").into()]);
    let sent = net.client().get(url(&server, "http")).send().await;
    let mut response = sent.unwrap();
    let timeline = response.timeline().cloned().unwrap();
    assert_eq!(timeline.outcome(), None, "its body is still to come");
    assert_eq!(response.chunk().await.unwrap().unwrap(), "[1]");
    let [attempt] = &timeline.attempts()[..] else {
        panic!("{timeline}");
    };
    assert_eq!(attempt.outcome(), Outcome::Responded(StatusCode::OK));
    assert_eq!(
        attempt.stages().last().unwrap().outcome(),
        StageOutcome::Completed
    );
    assert_eq!(attempt.received_bytes(), 3);
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn idle_connection_that_closed_is_replaced_without_a_failure() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    good(&client, &url).await;
    server.close_connections();
    server.wait_until(|stats| stats.open_connections == 0).await;
    // The scheduler decides whether hyper notices the close before it hands the request over. In both cases the
    // request is never sent twice, and a failure without effect is never reported as another one.
    match client.post(&url).body("amount=100").send().await {
        Ok(_) => assert_eq!(server.requests_seen(), 2),
        Err(error) => {
            assert_eq!(
                (error.hop(), error.kind()),
                (Some(Hop::Server), Kind::Closed)
            );
            assert_eq!(error.effect(), Effect::Possible);
            assert_eq!(server.requests_seen(), 1);
        }
    }
}

#[tokio::test]
async fn freed_connection_that_comes_first_has_the_timeouts_of_its_stage() {
    let net = Net::new().await;
    let server = tls_server(&net).await;
    let timeouts = TimeoutsConfig::new().first_byte(Duration::from_millis(400));
    let client = net
        .builder()
        .config(|config| config.timeouts(timeouts))
        .build()
        .unwrap();
    let url = url(&server, "https");
    // The second connection never finishes its handshake. Meanwhile the first is freed, and takes a request that
    // gets no response.
    server.on_connection([ConnFault::Behave, ConnFault::Silent]);
    let gate = Gate::new();
    server.on_request([CannedResponse::default().hold(&gate).into(), Reply::Silent]);
    let first = tokio::spawn(client.get(&url).send());
    server.wait_until(|stats| stats.requests == 1).await;
    let second = tokio::spawn(client.post(&url).body("amount=100").send());
    server.wait_until(|stats| stats.connections == 2).await;
    gate.open();
    first.await.unwrap().unwrap().bytes().await.unwrap();

    let error = second.await.unwrap().unwrap_err();
    assert_eq!(
        error.timeout_kind(),
        Some(TimeoutKind::FirstByte),
        "{error}"
    );
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Server), Effect::Possible)
    );
    let timeline = error.timeline().unwrap();
    let abandoned = (Tls, StageOutcome::Abandoned);
    assert!(stages(timeline).contains(&abandoned), "{timeline}");
    assert!(timeline.attempts()[0].is_reused());
}

#[tokio::test]
async fn caller_that_goes_away_while_connecting_is_not_a_failure() {
    let net = Net::new().await;
    let server = tls_server(&net).await;
    server.on_connection([ConnFault::Silent]);
    let client = net.client();
    let request = client.post(url(&server, "https")).body("amount=100");
    let calling = tokio::spawn(request.send());
    server.wait_until(|stats| stats.connections == 1).await;
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    server.wait_until(|stats| stats.open_connections == 0).await;
    assert_eq!(server.requests_seen(), 0);
}

#[tokio::test]
async fn request_given_up_behind_a_stream_limit_never_arrives() {
    let net = Net::new().await;
    let server = net.http2().await;
    let client = net
        .builder()
        .config(|config| config.timeouts(TimeoutsConfig::new().attempt(Duration::from_millis(300))))
        .transport(|transport| transport.max_connections(1))
        .build()
        .unwrap();
    let url = url(&server, "https");
    server.on_connection([ConnFault::MaxStreams(1)]);
    good(&client, &url).await;
    server.on_request([Reply::StallInBody {
        declared: 100,
        sent: Bytes::from_static(b"half"),
    }]);
    let occupant = client.get(&url).send().await.unwrap();

    // Neither request may arrive late.
    let (one, other) = tokio::join!(
        client
            .post(&url)
            .options(|options| options.retry(false))
            .send(),
        client
            .post(&url)
            .body("amount=100")
            .options(|options| options.retry(false))
            .send(),
    );
    for queued in [one.unwrap_err(), other.unwrap_err()] {
        assert_eq!(
            queued.timeout_kind(),
            Some(TimeoutKind::Attempt),
            "{queued}"
        );
        assert_eq!(
            (queued.hop(), queued.kind(), queued.effect()),
            (Some(Hop::Connect), Kind::ConnectionLimit, Effect::None)
        );
        assert_eq!(queued.blame(), Blame::Client);
    }

    drop(occupant);
    // The connection still works, and the dropped requests never arrive.
    good(&client, &url).await;
    assert_eq!(server.requests_seen(), 3, "{:?}", server.requests());
}

#[tokio::test]
async fn deadline_covers_the_last_byte_of_the_body() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([Reply::StallInBody {
        declared: 100,
        sent: Bytes::from_static(b"half"),
    }]);
    let hurried = net
        .client()
        .get(url(&server, "http"))
        .options(|options| options.deadline(Duration::from_millis(400)));
    let error = hurried.send().await.unwrap().bytes().await.unwrap_err();
    assert_eq!(error.hop(), Some(Hop::Receive));
    assert!(error.is_timeout());
    assert_eq!(error.effect(), Effect::Done);
    server.wait_until(|stats| stats.open_connections == 0).await;
}

#[tokio::test]
async fn body_that_is_received_within_the_attempt_is_counted_once() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([CannedResponse::json("[1]").into()]);
    let recorder = TimelineRecorder::new();
    let client = net.builder().on_complete(recorder.listener());
    let get = client.build().unwrap().get(url(&server, "http"));
    assert_eq!(get.fetch_bytes().await.unwrap(), "[1]");
    let timeline = &recorder.wait_for(1).await[0];
    assert_eq!(timeline.attempts()[0].received_bytes(), 3);
}
