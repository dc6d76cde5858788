//! Tests the facts in a response head about its path. They are in the timeline, they are shown, and they help to tell
//! the gateway from the server.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use sevenhops::hop::{Attempt, Outcome};
use sevenhops::testing::{CannedResponse, FaultServer};
use sevenhops::{Effect, Hop, Kind, StandardLayer, Timeline};
use tower::{Layer, ServiceExt, service_fn};

use crate::mock::{Mock, request, with};
use crate::net::{Net, url};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

/// Makes one call that waits 43 ms for a response with these headers.
async fn answered(status: u16, headers: &[(&'static str, &'static str)]) -> Timeline {
    let headers = headers.to_vec();
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let mut response = Response::builder().status(status);
        for (name, value) in &headers {
            response = response.header(*name, *value);
        }
        async move {
            tokio::time::sleep(MS(43)).await;
            Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
        }
    });
    let service = StandardLayer::new(SECS(10)).unwrap().layer(service);
    let mut asked = request(Method::POST);
    asked
        .extensions_mut()
        .insert(sevenhops::Options::new().retry(false));
    let response = service.oneshot(asked).await.unwrap();
    let timeline = response.body().timeline().clone();
    drop(response);
    timeline
}

fn only(timeline: &Timeline) -> Attempt {
    let mut attempts = timeline.attempts();
    assert_eq!(attempts.len(), 1);
    attempts.remove(0)
}

#[tokio::test(start_paused = true)]
async fn waterfall_splits_the_wait_and_shows_the_proxies() {
    let timeline = answered(
        503,
        &[
            ("server-timing", "db;dur=5, total;dur=31.2"),
            ("via", "1.1 inner, 1.1 edge"),
            (
                "proxy-status",
                "edge; error=connection_limit_reached; details=\"x\"",
            ),
            ("retry-after", "2"),
        ],
    )
    .await;
    let drawn = timeline.to_string();
    assert_eq!(
        drawn,
        [
            "POST https://api.test/v1/charges",
            "  status 503, failed at gateway: unavailable, effect possible after 43.0 ms",
            "  attempt 1 · passed on by inner, edge · edge says connection_limit_reached",
            "    retry after 2.00 s",
            "    status 503, failed at gateway: unavailable, effect possible",
            "    wait    ██████████████████████████████████   43.0 ms (service 31.2 ms) ✗ un…",
            "    receive                                  █      0 µs",
            "  not retried: retries are switched off",
        ]
        .join("\n"),
    );
    assert!(drawn.lines().all(|line| line.chars().count() <= 80));
}

#[tokio::test(start_paused = true)]
async fn service_never_takes_longer_than_the_wait() {
    let split = answered(200, &[("server-timing", "total;dur=31")]).await;
    assert_eq!(only(&split).service_time(), Some(MS(31)));
    let boast = answered(200, &[("server-timing", "total;dur=4300")]).await;
    assert_eq!(only(&boast).service_time(), Some(MS(43)));
    let silent = answered(200, &[("date", "x")]).await;
    assert_eq!(only(&silent).service_time(), None);
    assert_eq!(only(&silent).server_report(), None);
}

#[tokio::test(start_paused = true)]
async fn cached_response_is_marked_and_has_no_service_time() {
    let cached = answered(200, &[("age", "30"), ("server-timing", "total;dur=31")]).await;
    assert_eq!(only(&cached).service_time(), None);
    let drawn = cached.to_string();
    assert!(drawn.contains("out of a cache, 30.00 s old"), "{drawn}");
    assert!(!drawn.contains("service"), "{drawn}");
}

#[tokio::test(start_paused = true)]
async fn proxy_that_generates_the_response_is_the_gateway() {
    let says = "edge; error=proxy_internal_error";
    let timeline = answered(500, &[("proxy-status", says)]).await;
    assert!(
        matches!(
            only(&timeline).outcome(),
            Outcome::Failed {
                hop: Some(Hop::Gateway),
                kind: Kind::ServerError,
                effect: Effect::Possible,
                ..
            }
        ),
        "{timeline}"
    );
}

#[tokio::test(start_paused = true)]
async fn each_attempt_keeps_its_own_server_report() {
    let mock = Mock::new([with(503, "retry-after", "1"), with(200, "age", "7")]);
    let service = StandardLayer::new(SECS(10)).unwrap().layer(mock.clone());
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    let attempts = response.body().timeline().attempts();
    let said = |at: usize| attempts[at].server_report().cloned().unwrap();
    assert_eq!((said(0).retry_after, said(0).age), (Some(SECS(1)), None));
    assert_eq!((said(1).retry_after, said(1).age), (None, Some(SECS(7))));
}

#[tokio::test]
async fn server_report_is_recorded_over_a_real_connection() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([CannedResponse::new(StatusCode::OK)
        .header("server-timing", "total;dur=0.001")
        .header("via", "1.1 edge")
        .into()]);
    let response = net.client().get(url(&server, "http")).send().await.unwrap();
    let timeline = response.timeline().cloned().unwrap();
    response.bytes().await.unwrap();
    let attempt = only(&timeline);
    assert_eq!(attempt.service_time(), Some(Duration::from_micros(1)));
    assert_eq!(attempt.server_report().unwrap().via, ["edge"]);
    assert_ne!(attempt.local_addr().unwrap().port(), server.addr().port());
    assert_eq!(attempt.peer_addr(), Some(server.addr()));
}
