//! Tests interactions of policies: effects, budgets, secrets and reasons.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use sevenhops::hop::NoRetryReason;
use sevenhops::policy::retry::{Backoff, Budget, Growth, Jitter, RetryConfig};
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops::{DeadlineLayer, Destination, Effect, Options, StandardLayer};
use tower::{Layer, ServiceExt, service_fn};

use crate::mock::{Broken, Mock, optional, request, stack, standard, status, steady, with};
use crate::net::{Net, url};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

// The call's effect is not None after an attempt that may have had an effect.
#[tokio::test]
async fn decode_error_does_not_forget_an_earlier_attempt() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([
        Reply::CloseAfterRequest,
        CannedResponse::new(StatusCode::NOT_FOUND)
            .body("nope")
            .into(),
    ]);
    let post = net
        .client()
        .post(url(&server, "http"))
        .options(|options| options.honors_idempotency_keys(true))
        .body("amount=100");
    let response = post.send().await.unwrap();
    assert_eq!(response.timeline().unwrap().effect(), Effect::Possible);
    let error = response.json::<serde_json::Value>().await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible, "{error}");
}

#[tokio::test(start_paused = true)]
async fn token_returned_after_its_expiry_is_not_added() {
    let mock = Mock::new((0..20).map(|_| status(503)));
    let one = Budget::new()
        .ratio(0.0)
        .min_retries_per_second(1)
        .window(SECS(1));
    let wait = Backoff::new().growth(Growth::Constant).jitter(Jitter::None);
    let wait = wait.base(MS(1_500));
    let retry = RetryConfig::new().backoff(wait).budget(one).attempts(2);
    let service = stack(retry, &mock);
    // Paid at 0, expired at 1 s, cancelled and given back at 1.2 s.
    let calling = service.clone().oneshot(request(Method::GET));
    assert!(tokio::time::timeout(MS(1_200), calling).await.is_err());
    let before = mock.count();
    let calls = (0..2).map(|_| tokio::spawn(service.clone().oneshot(request(Method::GET))));
    let calls: Vec<_> = calls.collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(mock.count() - before, 2 + 1, "reserve of 1 paid for 2");
}

#[tokio::test]
async fn retry_refused_by_the_breaker_costs_no_budget() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
    let two = Budget::new()
        .ratio(0.0)
        .min_retries_per_second(1)
        .window(SECS(2));
    let quick = RetryConfig::new()
        .backoff(Backoff::new().base(MS(1)))
        .attempts(2)
        .budget(two);
    let shut = Arc::new(Mutex::new(
        None::<(
            sevenhops::policy::breaker::CircuitBreakerHandle,
            Destination,
        )>,
    ));
    let shutting = Arc::clone(&shut);
    let client = net
        .builder()
        .config(|config| config.retry(quick))
        .classify(move |_| {
            if let Some((breaker, api)) = shutting.lock().unwrap().take() {
                breaker.isolate(&api);
            }
            None
        })
        .build()
        .unwrap();
    let url = url(&server, "http");
    let api: Destination = url.trim_end_matches("/v1/charges").parse().unwrap();
    *shut.lock().unwrap() = Some((client.breaker_handle().clone(), api.clone()));
    let response = client.get(&url).send().await.unwrap();
    assert!(matches!(
        response.timeline().unwrap().no_retry_reason(),
        Some(NoRetryReason::Rejected(_))
    ));
    response.bytes().await.unwrap();
    client.breaker_handle().close(&api);
    let before = server.requests_seen();
    for _ in 0..4 {
        client
            .get(&url)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
    }
    assert_eq!(server.requests_seen() - before, 4 + 2, "a token is gone");
}

#[tokio::test(start_paused = true)]
async fn debug_output_of_the_classifiers_argument_has_no_secret() {
    let seen = Arc::new(Mutex::new(String::new()));
    let told = Arc::clone(&seen);
    let mock = Mock::new([with(404, "set-cookie", "session=canary")]);
    let layer = StandardLayer::new(SECS(10))
        .unwrap()
        .classify(move |failure| {
            *told.lock().unwrap() = format!("{failure:?}");
            None
        });
    let mut get = request(Method::GET);
    *get.uri_mut() = "https://u:canary@api.test/v1?key=canary".parse().unwrap();
    layer.layer(mock).oneshot(get).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert!(!seen.contains("canary"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn hint_applies_to_a_whole_body_call_whose_error_body_breaks_off() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&times);
    let service = standard(steady()).layer(service_fn(move |_: Request<Full<Bytes>>| {
        told.lock().unwrap().push(tokio::time::Instant::now());
        let answer = Response::builder().status(429).header("retry-after", "3");
        std::future::ready(Ok::<_, Infallible>(answer.body(Broken).unwrap()))
    }));
    let get = optional(Method::GET, Options::new().whole_body(1_000));
    let _ = service.oneshot(get).await;
    let times = times.lock().unwrap().clone();
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| *wait >= SECS(3)), "{waits:?}");
}

// A permanent failure is retried if its body broke off.
#[tokio::test(start_paused = true)]
async fn body_that_broke_off_is_retried_again_after_a_failed_attempt() {
    let count = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&count);
    let service = standard(steady()).layer(service_fn(move |_: Request<Full<Bytes>>| {
        let made = counting.fetch_add(1, Ordering::Relaxed);
        std::future::ready(match made {
            0 => Ok(Response::new(Broken)),
            _ => Err(std::io::Error::from(ErrorKind::ConnectionReset)),
        })
    }));
    let get = optional(Method::GET, Options::new().whole_body(1_000));
    let error = service.oneshot(get).await.unwrap_err();
    assert_eq!(
        (count.load(Ordering::Relaxed), error.effect()),
        (3, Effect::Done)
    );
}

#[tokio::test(start_paused = true)]
async fn permanent_status_is_not_retried_if_its_body_breaks_off() {
    let count = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&count);
    let service = standard(steady()).layer(service_fn(move |_: Request<Full<Bytes>>| {
        counting.fetch_add(1, Ordering::Relaxed);
        let answer = Response::builder().status(401);
        std::future::ready(Ok::<_, Infallible>(answer.body(Broken).unwrap()))
    }));
    let post = optional(Method::POST, Options::new().whole_body(1_000));
    let response = service.oneshot(post).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn credentials_of_the_url_are_sent_to_the_same_origin() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let moved = CannedResponse::new(StatusCode::FOUND).header("location", "/new");
    server.on_request([moved.into()]);
    let url = url(&server, "http").replace("http://", "http://user:pw@");
    net.client().get(url).send().await.unwrap();
    let seen = server.requests();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].headers.contains_key("authorization"));
    assert!(
        seen[1].headers.contains_key("authorization"),
        "lost at home"
    );
}

#[tokio::test(start_paused = true)]
async fn head_that_comes_after_the_deadline_is_discarded() {
    let service =
        DeadlineLayer::new(SECS(1))
            .unwrap()
            .layer(service_fn(async |_: Request<Full<Bytes>>| {
                tokio::time::sleep(SECS(2)).await;
                Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default()))
            }));
    let calling = tokio::spawn(service.oneshot(request(Method::GET)));
    tokio::task::yield_now().await;
    tokio::time::advance(SECS(3)).await;
    assert!(calling.await.unwrap().is_err(), "accepted at 3 s of 1 s");
}

#[tokio::test(start_paused = true)]
async fn host_header_of_the_caller_is_kept_on_the_same_origin() {
    let mock = Mock::new([with(302, "location", "/b")]);
    let mut get = request(Method::GET);
    get.headers_mut()
        .insert("host", "tenant.test".parse().unwrap());
    stack(steady(), &mock).oneshot(get).await.unwrap();
    assert_eq!(mock.asked()[1].header("host"), Some("tenant.test"));
}

#[tokio::test(start_paused = true)]
async fn classifier_that_panics_leaves_the_decision_to_the_table() {
    let mock = Mock::new([status(503)]);
    let layer = StandardLayer::new(SECS(10)).unwrap();
    let service = layer.classify(|_| panic!("boom")).layer(mock.clone());
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (200, 2));
}

#[tokio::test(start_paused = true)]
async fn destination_error_shows_no_query() {
    let refused = "https://api.test/?key=canary".parse::<Destination>();
    let told = refused.unwrap_err().to_string();
    assert!(!told.contains("canary"), "{told}");
}

// The response to the POST was a 302. The 200 of the following GET does not prove that the POST was done.
#[tokio::test]
async fn success_of_the_get_is_not_the_success_of_the_post() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([
        CannedResponse::new(StatusCode::FOUND)
            .header("location", "/login")
            .into(),
        Reply::TruncateBody {
            declared: 100,
            sent: Bytes::from_static(b"<html>"),
        },
    ]);
    let post = net.client().post(url(&server, "http")).body("amount=100");
    let response = post.send().await.unwrap();
    assert_eq!(server.requests()[1].method, Method::GET);
    let error = response.bytes().await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible, "{error}");
}
