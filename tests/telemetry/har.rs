//! Tests calls as HTTP archives, which browsers show in their network panel.
#![cfg(feature = "har")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use sevenhops::chaos::{ChaosConfig, ChaosLayer, Fault, Latency};
use sevenhops::hop::Har;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Gate, Reply};
use sevenhops::{Config, HedgeConfig, Options, StandardLayer, Timeline};
use tower::{Layer, ServiceExt, service_fn};

use crate::mock::{Mock, Step, request, status, with};
use crate::net::{Net, url};
use crate::schema::checked;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

async fn called(mock: &Mock, asked: Request<Full<Bytes>>) -> Timeline {
    let layer = StandardLayer::new(SECS(10)).unwrap();
    match layer.layer(mock.clone()).oneshot(asked).await {
        Ok(response) => response.body().timeline().clone(),
        Err(error) => error.timeline().cloned().unwrap(),
    }
}

fn entries(timeline: &Timeline) -> Vec<Value> {
    checked(&timeline.to_har().to_string())
}

#[tokio::test(start_paused = true)]
async fn entry_has_exactly_the_facts_of_its_attempt() {
    let service = service_fn(|_: Request<Full<Bytes>>| async {
        tokio::time::sleep(MS(43)).await;
        let answer = Response::builder().status(503);
        let answer = answer.header("server-timing", "total;dur=31.5");
        Ok::<_, Infallible>(answer.body(Full::<Bytes>::default()).unwrap())
    });
    let service = StandardLayer::new(SECS(10)).unwrap().layer(service);
    let mut post = request(Method::POST);
    post.extensions_mut().insert(Options::new().retry(false));
    let response = service.oneshot(post).await.unwrap();
    let timeline = response.body().timeline().clone();
    drop(response);
    let mut entry = entries(&timeline).remove(0);
    entry["startedDateTime"].take();
    assert_eq!(
        entry,
        json!({
            "startedDateTime": null,
            "time": 43.0,
            "request": {
                "method": "POST", "url": "https://api.test/v1/charges", "httpVersion": "unknown",
                "cookies": [], "headers": [], "queryString": [], "headersSize": -1, "bodySize": -1,
            },
            "response": {
                "status": 503, "statusText": "Service Unavailable", "httpVersion": "unknown",
                "cookies": [], "headers": [],
                "content": { "size": 0, "mimeType": "x-unknown" },
                "redirectURL": "", "headersSize": -1, "bodySize": 0,
            },
            "cache": {},
            "timings": {
                "blocked": -1.0, "dns": -1.0, "connect": -1.0, "ssl": -1.0,
                "send": 0.0, "wait": 43.0, "receive": 0.0,
            },
            "_attempt": 1,
            "_hop": "server", "_kind": "unavailable", "_effect": "possible",
            "_error_type": "503", "_service_ms": 31.5,
            "comment": "status 503, failed at server: unavailable, effect possible; \
                not retried: retries are switched off",
        })
    );
}

#[tokio::test(start_paused = true)]
async fn waits_and_redirects_are_between_the_entries() {
    let mock = Mock::new([
        with(303, "location", "https://api.test/v2?key=canary"),
        Step::FailAfter(MS(20)),
        with(503, "retry-after", "1"),
        status(200),
    ]);
    let timeline = called(&mock, request(Method::POST)).await;
    let entries = entries(&timeline);
    assert_eq!(entries.len(), 4);
    let methods = entries
        .iter()
        .map(|entry| entry["request"]["method"].clone());
    assert_eq!(methods.collect::<Vec<_>>(), ["POST", "GET", "GET", "GET"]);
    let [first, lost, throttled, last] = &entries[..] else {
        panic!("four");
    };
    assert_eq!(first["request"]["url"], "https://api.test/v1/charges");
    assert_eq!(first["response"]["redirectURL"], "https://api.test/v2");
    assert_eq!(first["response"].get("_error"), None);
    assert_eq!(lost["request"]["url"], "https://api.test/v2");
    assert_eq!(lost["response"]["status"], 0);
    assert_eq!(
        lost["response"]["_error"],
        "failed at server: closed, effect possible"
    );
    assert_eq!(lost["response"]["bodySize"], -1);
    assert_eq!(lost["timings"]["wait"], 20.0);
    assert_eq!(lost["_error_type"], "connection_terminated");
    assert_eq!(throttled["response"]["status"], 503);
    let blocked = last["timings"]["blocked"].as_f64().unwrap();
    assert!((1_000.0..1_101.0).contains(&blocked), "{blocked}");
    assert_eq!(last["comment"], "status 200");
    assert_eq!(lost.get("comment"), None);
    let time: f64 = entries
        .iter()
        .map(|entry| entry["time"].as_f64().unwrap())
        .sum();
    assert!(
        (time - timeline.elapsed().as_secs_f64() * 1e3).abs() < 1e-3,
        "no gap and no overlap"
    );
}

/// Calls a service whose first response comes while a hedge is in flight.
async fn hedged(first: fn() -> Response<Full<Bytes>>, chaos: &ChaosLayer) -> Vec<Value> {
    let count = Arc::new(AtomicU32::new(0));
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            match number {
                0 => tokio::time::sleep(MS(50)).await,
                1 => std::future::pending().await,
                _ => return Ok::<_, Infallible>(Response::default()),
            }
            Ok(first())
        }
    });
    let config = Config::new(SECS(10)).hedge(HedgeConfig::new().delay(MS(30)));
    let service = StandardLayer::from_config(&config)
        .unwrap()
        .layer(chaos.layer(service));
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    entries(response.body().timeline())
}

#[tokio::test(start_paused = true)]
async fn redirect_and_fault_beside_a_hedge_belong_to_their_own_attempt() {
    let quiet = || ChaosLayer::new(ChaosConfig::new(1)).unwrap();
    let moved = || {
        let moved = Response::builder().status(302);
        let moved = moved.header("location", "https://api.test/v2");
        moved.body(Full::default()).unwrap()
    };
    let entries = hedged(moved, &quiet()).await;
    let urls: Vec<_> = entries
        .iter()
        .map(|entry| entry["response"]["redirectURL"].as_str().unwrap())
        .collect();
    assert_eq!(urls, ["https://api.test/v2", "", ""]);

    let chaos = quiet();
    let delay = Fault::Delay(Latency::between(MS(10), MS(10)));
    chaos.enqueue([delay]).unwrap();
    let entries = hedged(Response::default, &chaos).await;
    let faults: Vec<_> = entries
        .iter()
        .map(|entry| entry["_chaos"].as_str())
        .collect();
    assert_eq!(faults, [Some("delay"), None]);
}

#[tokio::test]
async fn connection_setup_is_split_in_the_entry_that_made_it() {
    let net = Net::new().await;
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    server.on_request([
        CannedResponse::default().into(),
        CannedResponse::default().into(),
    ]);
    let client = net.client();
    let mut timelines = Vec::new();
    for _ in 0..2 {
        let post = client.post(url(&server, "https")).body("amount=100");
        let response = post.send().await.unwrap();
        timelines.push(response.timeline().cloned().unwrap());
        response.bytes().await.unwrap();
    }
    // The entries are in order of time, whatever the order of the calls.
    timelines.reverse();
    let entries = checked(&timelines.iter().collect::<Har>().to_string());
    let [made, reused] = &entries[..] else {
        panic!("two");
    };
    for part in ["dns", "connect", "ssl"] {
        assert!(
            made["timings"][part].as_f64().unwrap() > 0.0,
            "{part}: {made}"
        );
        assert_eq!(reused["timings"][part], -1.0, "{part}: {reused}");
    }
    assert_eq!(made["connection"], server.addr().port().to_string());
    assert!(made["_connectionId"].is_string());
    assert_eq!(made["_connectionId"], reused["_connectionId"]);
    assert_eq!(made["serverIPAddress"], "127.0.0.1");
    assert_eq!(made["request"]["httpVersion"], "HTTP/1.1");
    assert_eq!(made["_tls"], "1.3");
    assert_eq!(made["_alpn"], "http/1.1");
    assert_eq!(made["_tls_resumed"], false);
    assert_eq!(made["request"]["bodySize"], 10);
    assert_eq!(made["response"]["bodySize"], 11);
}

#[tokio::test]
async fn wait_for_a_connection_is_blocked_time() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let gate = Gate::new();
    server.default_reply(CannedResponse::default().hold(&gate));
    let builder = net.builder();
    let builder = builder.transport(|transport| transport.max_connections_per_destination(1));
    let client = builder.build().unwrap();
    let held = async {
        server.wait_until(|stats| stats.requests == 1).await;
        gate.open();
    };
    let call = async || {
        let response = client.get(url(&server, "http")).send().await.unwrap();
        let timeline = response.timeline().cloned().unwrap();
        response.bytes().await.unwrap();
        timeline
    };
    let (first, second, ()) = tokio::join!(call(), call(), held);
    let waits = [first, second].map(|timeline| {
        let waited = timeline.attempts()[0].time_in_queue()?;
        Some((timeline, waited))
    });
    let mut waits = waits.into_iter().flatten();
    let (timeline, waited) = waits.next().expect("there is one connection");
    assert!(waits.next().is_none());
    let timings = &entries(&timeline)[0]["timings"];
    assert_eq!(timings["connect"], -1.0);
    let blocked = timings["blocked"].as_f64().unwrap();
    assert!(blocked >= waited.as_secs_f64() * 1e3, "{blocked} ms");
}

#[tokio::test]
async fn response_that_breaks_off_keeps_its_status_and_says_so() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let sent = Bytes::from_static(b"abc");
    server.on_request([Reply::TruncateBody {
        declared: 100,
        sent,
    }]);
    let get = net
        .client()
        .get(url(&server, "http"))
        .options(|options| options.retry(false));
    let response = get.send().await.unwrap();
    let timeline = response.timeline().cloned().unwrap();
    response.bytes().await.unwrap_err();
    let entry = entries(&timeline).remove(0);
    assert_eq!(entry["response"]["status"], 200);
    assert_eq!(entry["response"]["bodySize"], 3);
    let said = "failed at receive: incomplete, effect done";
    assert_eq!(entry["response"]["_error"], said);
    assert_eq!(entry["_hop"], "receive");
}

#[tokio::test]
async fn failure_before_any_connection_has_no_server() {
    let net = Net::new().await;
    net.dns.set("api.test", DnsScript::NxDomain);
    let error = net
        .client()
        .get("http://api.test/")
        .send()
        .await
        .unwrap_err();
    let entries = entries(error.timeline().unwrap());
    assert_eq!(entries[0]["_hop"], "dns");
    assert_eq!(entries[0]["_kind"], "not found");
    assert_eq!(entries[0].get("serverIPAddress"), None);
    assert_eq!(entries[0].get("connection"), None);
    assert_eq!(entries[0]["timings"]["connect"], -1.0);
    assert_eq!(entries[0]["response"]["status"], 0);
}

#[tokio::test]
async fn call_without_an_attempt_is_still_an_entry() {
    let client = Net::new().await.client();
    let error = client.get("no url").send().await.unwrap_err();
    let entries = entries(error.timeline().unwrap());
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["_attempt"], 0);
    assert_eq!(entries[0]["_hop"], "encode");
    assert_eq!(entries[0]["request"]["url"], "unknown:/");
}

#[tokio::test(start_paused = true)]
async fn call_that_is_still_in_flight_can_be_shown() {
    let layer = StandardLayer::new(SECS(10)).unwrap();
    let service = layer.layer(Mock::default());
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    let timeline = response.body().timeline().clone();
    let pretty = format!("{:#}", timeline.to_har());
    assert!(pretty.lines().count() > 20, "{pretty}");
    assert_eq!(checked(&pretty)[0]["comment"], "under way");
    drop(response);
    assert_eq!(entries(&timeline)[0]["comment"], "status 200");
}

#[tokio::test(start_paused = true)]
async fn headers_are_kept_only_if_enabled_and_listed() {
    let answer = [
        ("content-type", "application/json"),
        ("x-request-id", "req-7"),
        ("x-other", "canary"),
        ("set-cookie", "session=canary"),
    ];
    let answer = answer.map(|(name, value)| (name, value.to_owned()));
    let mock = Mock::new([Step::Answer(200, answer.into(), Bytes::new()), status(200)]);
    let named = [
        "x-request-id",
        "authorization",
        "set-cookie",
        "idempotency-key",
    ];
    let named = named.map(HeaderName::from_static);
    let mut post = request(Method::POST);
    post.headers_mut()
        .insert("accept", "a".repeat(400).parse().unwrap());
    post.headers_mut()
        .insert("x-unheard-of", "canary".parse().unwrap());
    post.extensions_mut()
        .insert(Options::new().keep_headers(named));
    let entry = entries(&called(&mock, post).await).remove(0);
    let shown = |side: &str, name: &str| {
        let headers = entry[side]["headers"].as_array().unwrap();
        let header = headers.iter().find(|header| header["name"] == name);
        header.map(|header| header["value"].as_str().unwrap().to_owned())
    };
    let secret = Some("(redacted)".to_owned());
    assert_eq!(shown("request", "accept"), Some("a".repeat(256)));
    assert_eq!(shown("request", "x-unheard-of"), secret);
    assert_eq!(shown("request", "authorization"), secret);
    assert_eq!(shown("request", "idempotency-key"), secret);
    assert_eq!(
        shown("response", "content-type").as_deref(),
        Some("application/json")
    );
    assert_eq!(shown("response", "x-request-id").as_deref(), Some("req-7"));
    assert_eq!(shown("response", "x-other"), secret);
    assert_eq!(shown("response", "set-cookie"), secret);
    assert_eq!(entry["response"]["content"]["mimeType"], "application/json");
    assert!(!entry.to_string().contains("canary"), "{entry}");
    let plain = entries(&called(&mock, request(Method::POST)).await).remove(0);
    assert_eq!(plain["request"]["headers"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn header_that_carries_the_key_is_not_shown_whatever_its_name() {
    let keys = sevenhops::policy::idempotency::IdempotencyConfig::new()
        .header(HeaderName::from_static("x-request-id"));
    let settings = Config::new(SECS(10)).idempotency(keys);
    let service = StandardLayer::from_config(&settings)
        .unwrap()
        .layer(Mock::default());
    for brought in [None, Some("canary")] {
        let name = HeaderName::from_static("x-request-id");
        let mut post = request(Method::POST);
        if let Some(key) = brought {
            post.headers_mut().insert(&name, key.parse().unwrap());
        }
        post.extensions_mut()
            .insert(Options::new().keep_headers([name]));
        let response = service.clone().oneshot(post).await.unwrap();
        let entry = entries(response.body().timeline()).remove(0);
        let headers = entry["request"]["headers"].as_array().unwrap();
        let key = json!({ "name": "x-request-id", "value": "(redacted)" });
        assert!(headers.contains(&key), "{headers:?}");
    }
}
