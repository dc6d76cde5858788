//! Tests a timeline as data: names and shape must stay compatible.
#![cfg(feature = "serde")]

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use sevenhops::testing::{CannedResponse, FaultServer};
use sevenhops::{Options, StandardLayer, Timeline};
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, Step, request, with};
use crate::net::{Net, url};

async fn called(mock: Mock, method: Method, options: Options) -> Timeline {
    let layer = StandardLayer::new(Duration::from_secs(10)).unwrap();
    let mut asked = request(method);
    asked.extensions_mut().insert(options);
    match layer.layer(mock).oneshot(asked).await {
        Ok(response) => response.body().timeline().clone(),
        Err(error) => error.timeline().cloned().unwrap(),
    }
}

/// Returns the timeline as JSON. The wall clock's time is checked and then replaced.
fn written(timeline: &Timeline) -> Value {
    let mut json = serde_json::to_value(timeline).unwrap();
    let started = json["started_at"].take();
    let started = started.as_str().unwrap();
    assert!(
        started.len() == "2019-06-03T11:00:00.000001Z".len() && started.ends_with('Z'),
        "{started}"
    );
    json["started_at"] = "then".into();
    json
}

#[tokio::test(start_paused = true)]
async fn failure_by_status_and_its_server_report() {
    let headers = [
        ("server-timing", "total;dur=31.2, miss"),
        (
            "proxy-status",
            "edge; error=dns_timeout; received-status=503",
        ),
        ("via", "1.1 edge"),
        ("age", "0"),
        ("retry-after", "2"),
    ];
    let headers = headers.map(|(name, value)| (name, value.to_owned()));
    let step = Step::Answer(503, headers.into(), Bytes::new());
    let options = Options::new().route("/v1/charges").retry(false);
    let timeline = called(Mock::new([step]), Method::POST, options).await;
    let failed = json!({
        "end": "failed", "hop": "gateway", "kind": "unavailable", "effect": "possible",
        "error_type": "503", "status": 503,
    });
    assert_eq!(
        written(&timeline),
        json!({
            "method": "POST",
            "url": "https://api.test/v1/charges",
            "route": "/v1/charges",
            "started_at": "then",
            "duration_us": 0,
            "effect": "possible",
            "outcome": failed,
            "attempts": [{
                "number": 1,
                "start_us": 0,
                "duration_us": 0,
                "stages": [{
                    "stage": "wait", "start_us": 0, "duration_us": 0, "end": "failed",
                    "kind": "unavailable",
                }, {
                    "stage": "receive", "start_us": 0, "duration_us": 0, "end": "completed",
                }],
                "reused": false,
                "dns_stale": false,
                "taken": false,
                "sent_bytes": 0,
                "received_bytes": 0,
                "status": 503,
                "server_report": {
                    "timings": [{ "name": "total", "duration_us": 31_200 }, { "name": "miss" }],
                    "proxies": [{
                        "name": "edge", "error": "dns_timeout", "received_status": 503,
                    }],
                    "via": ["edge"],
                    "age_us": 0,
                    "retry_after_us": 2_000_000,
                },
                "service_us": 0,
                "outcome": failed,
            }],
            "events": [],
            "no_retry_reason": {
                "reason": "disabled",
                "text": "retries are switched off",
            },
        })
    );
}

#[tokio::test(start_paused = true)]
async fn events_between_the_attempts() {
    let mock = Mock::new([
        with(307, "location", "/v2/charges?key=canary"),
        Step::Fail(ErrorKind::ConnectionReset),
        with(200, "idempotent-replayed", "true"),
    ]);
    let written = written(&called(mock, Method::GET, Options::new()).await);
    assert_eq!(written["attempts"][1]["url"], "https://api.test/v2/charges");
    let failed = &written["attempts"][1]["outcome"];
    assert_eq!(failed["end"], "failed");
    assert_eq!(failed["error_type"], "connection_terminated");
    let wait = written["events"][1]["wait_us"].clone();
    assert!(
        wait.as_u64().is_some_and(|micros| micros <= 100_000),
        "{wait}"
    );
    assert_eq!(
        written["events"],
        json!([
            {
                "attempts": 1, "at_us": 0, "kind": "redirected", "status": 307,
                "url": "https://api.test/v2/charges",
            },
            { "attempts": 2, "at_us": 0, "kind": "waited", "wait_us": wait, "hinted": false },
            {
                "attempts": 3, "at_us": written["events"][2]["at_us"], "kind": "replayed",
            },
        ])
    );
}

#[tokio::test]
async fn facts_of_a_connection() {
    let net = Net::new().await;
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity);
    let server = server.start().await.unwrap();
    server.on_request([CannedResponse::default().into()]);
    let response = net
        .client()
        .get(url(&server, "https"))
        .send()
        .await
        .unwrap();
    let timeline = response.timeline().cloned().unwrap();
    response.bytes().await.unwrap();
    let written = written(&timeline);
    let attempt = &written["attempts"][0];
    assert_eq!(attempt["peer"], server.addr().to_string());
    assert_eq!(attempt["version"], "HTTP/1.1");
    assert_eq!(attempt["tls"], "1.3");
    assert_eq!(attempt["alpn"], "http/1.1");
    assert_eq!(attempt["tls_resumed"], false);
    assert_eq!(attempt["dns_cached"], false);
    assert_eq!(attempt["connection_age_us"], 0);
    assert_eq!(attempt["received_bytes"], 11);
    assert_eq!(
        attempt["outcome"],
        json!({ "end": "responded", "status": 200 })
    );
    assert_eq!(written["outcome"], attempt["outcome"]);
    let rows = attempt["stages"].as_array().unwrap();
    let stages: Vec<_> = rows
        .iter()
        .map(|row| row["stage"].as_str().unwrap())
        .collect();
    assert_eq!(stages, ["dns", "connect", "tls", "send", "wait", "receive"]);
    assert_eq!(rows[1]["address"], server.addr().to_string());
    let ends: u64 = rows
        .iter()
        .map(|row| row["duration_us"].as_u64().unwrap())
        .sum();
    assert!(ends <= written["duration_us"].as_u64().unwrap());
}
