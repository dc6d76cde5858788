//! Tests redirects: each leg is a request of its own. Credentials stay at their origin.

mod effects;

use std::error::Error as _;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request};
use http_body_util::Full;
use sevenhops::hop::TimelineEventKind;
use sevenhops::policy::redirect::RedirectConfig;
use sevenhops::timeout::Timeouts;
use sevenhops::{
    AttemptLayer, DeadlineLayer, Effect, IdempotencyLayer, Kind, Options, Policy, RedirectLayer,
    RetryLayer, StandardLayer, StandardService,
};
use tower::{Layer, ServiceExt, service_fn};

use crate::mock::{Mock, Step, optional, request, status, steady, with};

const DEADLINE: Duration = Duration::from_secs(10);
const LOST: Step = Step::Fail(ErrorKind::ConnectionReset);

fn timeouts() -> Timeouts {
    Timeouts::new(DEADLINE).unwrap()
}

fn stack(redirect: RedirectConfig, mock: &Mock) -> StandardService<Mock> {
    let settings = sevenhops::Config::new(Duration::from_secs(10)).redirect(redirect);
    StandardLayer::from_config(&settings)
        .unwrap()
        .layer(mock.clone())
}

fn to(code: u16, location: &str) -> Step {
    with(code, "location", location)
}

#[tokio::test(start_paused = true)]
async fn status_decides_whether_body_and_method_are_kept() {
    for (code, method, expected, body) in [
        (301, Method::POST, Method::GET, ""),
        (302, Method::POST, Method::GET, ""),
        (303, Method::PUT, Method::GET, ""),
        (307, Method::POST, Method::POST, "amount=100"),
        (308, Method::PATCH, Method::PATCH, "amount=100"),
    ] {
        let mock = Mock::new([to(code, "/v2")]);
        stack(RedirectConfig::new(), &mock)
            .oneshot(request(method))
            .await
            .unwrap();
        let leg = &mock.asked()[1];
        assert_eq!(leg.head.uri, "https://api.test/v2", "{code}");
        assert_eq!(
            (&leg.head.method, &leg.body[..]),
            (&expected, body.as_bytes())
        );
        let keyed = leg.header("idempotency-key").is_some();
        assert_eq!(keyed, expected != Method::GET, "{code}");
        assert_eq!(leg.header("authorization"), Some("Bearer canary"));
    }
}

/// A body type that does not implement this crate's traits.
struct Theirs(&'static str);

#[tokio::test(start_paused = true)]
async fn foreign_body_type_is_cloned_and_emptied_by_functions() {
    for (code, legs) in [
        (303, [(Method::POST, "amount=100"), (Method::GET, "")]),
        (
            307,
            [(Method::POST, "amount=100"), (Method::POST, "amount=100")],
        ),
    ] {
        let mock = Mock::new([to(code, "/v2")]);
        let below = mock.clone();
        let service = StandardLayer::new(Duration::from_secs(10))
            .unwrap()
            .clone_body_with(|body: &Theirs| Some(Theirs(body.0)), || Theirs(""))
            .layer(service_fn(move |request: Request<Theirs>| {
                below
                    .clone()
                    .oneshot(request.map(|body| Full::from(body.0)))
            }));
        let post = request(Method::POST).map(|_| Theirs("amount=100"));
        assert_eq!(service.oneshot(post).await.unwrap().status(), 200);
        let asked = mock.asked();
        let asked = asked.iter().map(|leg| (&leg.head.method, &leg.body[..]));
        let legs = legs
            .each_ref()
            .map(|(method, body)| (method, body.as_bytes()));
        assert!(asked.eq(legs), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_cookies_and_key_are_not_sent_to_another_origin() {
    for there in [
        "https://other.test/",
        "https://api.test:444/",
        "//api.example/",
    ] {
        let mock = Mock::new([to(307, there), to(307, "https://api.test/back")]);
        let mut post = request(Method::POST);
        for name in ["cookie", "x-api-key", "proxy-authorization"] {
            post.headers_mut().insert(name, "canary".parse().unwrap());
        }
        stack(RedirectConfig::new(), &mock)
            .oneshot(post)
            .await
            .unwrap();
        let asked = mock.asked();
        assert_eq!(asked.len(), 3);
        assert!(asked[0].header("idempotency-key").is_some());
        // A header that was removed once is not sent later either.
        for leg in &asked[1..] {
            let told = format!("{:?}", leg.head.headers);
            assert!(
                !told.contains("canary") && !told.contains("idempotency"),
                "{told}"
            );
            assert_eq!(leg.body, "amount=100");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn removed_key_permits_no_retry_at_the_other_origin() {
    let mock = Mock::new([to(307, "https://other.test/"), LOST]);
    let mut post = request(Method::POST);
    post.extensions_mut()
        .insert(Options::new().honors_idempotency_keys(true));
    let error = stack(RedirectConfig::new(), &mock)
        .oneshot(post)
        .await
        .unwrap_err();
    assert_eq!((mock.count(), error.effect()), (2, Effect::Possible));
}

#[tokio::test(start_paused = true)]
async fn each_leg_has_its_own_attempts_and_timeline_event() {
    let mock = Mock::new([
        status(503),
        to(302, "https://other.test/b?key=s"),
        status(503),
    ]);
    let service = stack(RedirectConfig::new(), &mock);
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (200, 4));
    let timeline = response.body().timeline().clone();
    let attempts = timeline.attempts();
    let urls: Vec<_> = attempts.iter().map(|attempt| attempt.url()).collect();
    let there = Some("https://other.test/b".to_owned());
    assert_eq!(urls, [None, None, there.as_deref(), there.as_deref()]);
    let notes = timeline.events();
    assert!(
        notes.iter().any(|note| matches!(&note.kind,
            TimelineEventKind::Redirected { url, .. } if url == "https://other.test/b")),
        "{notes:?}"
    );
    assert!(!timeline.to_string().contains("key=s"));
}

#[tokio::test(start_paused = true)]
async fn redirect_loop_is_named() {
    let mock = Mock::new([to(302, "/a"), to(302, "/b"), to(302, "/a")]);
    let service = stack(RedirectConfig::new(), &mock);
    let error = service.oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::Redirect));
    assert_eq!((error.kind(), mock.count()), (Kind::RedirectLoop, 3));
    assert_eq!(
        error.source().unwrap().to_string(),
        "status 302 leads to https://api.test/a, after 3 requests"
    );
}

#[tokio::test(start_paused = true)]
async fn ten_redirects_are_followed_and_no_more() {
    for (redirects, expected) in [(10, None), (11, Some(Kind::TooManyRedirects))] {
        let mock = Mock::new((0..redirects).map(|leg| to(302, &format!("/{leg}"))));
        let service = stack(RedirectConfig::new(), &mock);
        let answer = service.oneshot(request(Method::GET)).await;
        assert_eq!(answer.err().map(|error| error.kind()), expected);
        assert_eq!(mock.count(), 11);
    }
}

#[tokio::test(start_paused = true)]
async fn downgrade_is_refused_and_sends_nothing() {
    for there in ["http://api.test/", "ftp://api.test/"] {
        let mock = Mock::new([to(301, there)]);
        let service = stack(RedirectConfig::new(), &mock);
        let error = service.oneshot(request(Method::GET)).await.unwrap_err();
        assert_eq!((error.kind(), mock.count()), (Kind::RedirectRefused, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn redirect_is_returned_unchanged_if_disabled_or_without_a_location() {
    let off = Options::new().follow_redirects(false);
    for (settings, options, location) in [
        (RedirectConfig::new().enabled(false), Options::new(), "/v2"),
        (RedirectConfig::new(), off, "/v2"),
        (RedirectConfig::new(), Options::new(), "https://[::1"),
    ] {
        let mock = Mock::new([to(302, location)]);
        let mut get = request(Method::GET);
        get.extensions_mut().insert(options);
        let response = stack(settings, &mock).oneshot(get).await.unwrap();
        assert_eq!((response.status().as_u16(), mock.count()), (302, 1));
    }
    let mock = Mock::new([status(304), status(302)]);
    for code in [304, 302] {
        let service = stack(RedirectConfig::new(), &mock);
        let response = service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(response.status(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn configured_header_is_kept_and_a_credential_never_is() {
    let tenant = HeaderName::from_static("x-tenant");
    let settings = RedirectConfig::new()
        .keep_header_cross_origin(tenant)
        .keep_header_cross_origin(http::header::AUTHORIZATION);
    let mock = Mock::new([to(302, "https://other.test/")]);
    let mut get = request(Method::GET);
    get.headers_mut().insert("x-tenant", "eu".parse().unwrap());
    stack(settings, &mock).oneshot(get).await.unwrap();
    let leg = &mock.asked()[1];
    assert_eq!(leg.header("x-tenant"), Some("eu"));
    assert_eq!(leg.header("authorization"), None);
}

#[tokio::test(start_paused = true)]
async fn redirect_layer_works_alone_and_over_a_retry() {
    let mock = Mock::new([to(307, "/a"), to(307, "/b")]);
    let redirect = RedirectLayer::new(RedirectConfig::new()).unwrap();
    redirect
        .layer(mock.clone())
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    assert_eq!(mock.asked()[2].body, "amount=100");

    let mock = Mock::new([to(307, "/a"), to(307, "/b")]);
    let retry = RetryLayer::new(sevenhops::policy::retry::RetryConfig::new()).unwrap();
    let service = redirect.layer(retry.layer(mock.clone()));
    service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(mock.asked()[2].body, "amount=100");
}

fn honored() -> Request<Full<Bytes>> {
    optional(Method::POST, Options::new().honors_idempotency_keys(true))
}

// A server's response to one attempt says nothing about the attempt before.
#[tokio::test(start_paused = true)]
async fn possibly_processed_request_is_not_redirected_without_its_key() {
    let away = "https://other.test/";
    for (first, location, count) in [
        (LOST, away, 2),
        (status(503), away, 2),
        (status(429), away, 3),
        (LOST, "/v2", 3),
    ] {
        let mock = Mock::new([first.clone(), to(307, location)]);
        let answered = stack(RedirectConfig::new(), &mock).oneshot(honored()).await;
        assert_eq!(mock.count(), count, "{first:?} {location}");
        let Err(error) = answered else {
            assert_eq!(count, 3, "{first:?} {location}");
            continue;
        };
        let told = (error.kind(), error.effect(), error.rejected_by());
        let refused = (
            Kind::RedirectRefused,
            Effect::Possible,
            Some(Policy::Redirect),
        );
        assert_eq!(told, refused);
        assert_eq!(
            error.source().unwrap().to_string(),
            "status 307 leads to https://other.test/, without the idempotency key, after an \
             attempt that may have been processed"
        );
    }
    let mock = Mock::new([status(503), to(307, away)]);
    let retry = RetryLayer::new(steady()).unwrap();
    let redirect = RedirectLayer::new(RedirectConfig::new()).unwrap();
    let over = redirect.layer(retry.layer(AttemptLayer::new(timeouts()).layer(mock.clone())));
    let keyed = IdempotencyLayer::default().layer(over);
    let call = DeadlineLayer::new(DEADLINE).unwrap().layer(keyed);
    assert!(call.oneshot(honored()).await.is_err());
    assert_eq!(mock.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn outer_retry_does_not_rely_on_a_key_that_a_redirect_removed() {
    let mock = Mock::new([to(307, "https://other.test/"), status(503)]);
    let inner = stack(RedirectConfig::new(), &mock);
    let outer = StandardLayer::new(DEADLINE).unwrap().layer(inner);
    let response = outer.oneshot(honored()).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (503, 2));
}
