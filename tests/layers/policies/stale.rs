//! Tests the choice between an error and the last good response, in the standard stack.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use sevenhops::{
    CircuitBreakerConfig, Config, Consistency, Effect, Error, Hop, Options, Policy, StandardLayer,
    StandardService,
    driver::DriverBody,
    hop::{Outcome, TimelineEventKind},
    policy::stale::{StaleConfig, Staleness},
};

use tokio::time::advance;
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, Step, saying, status, steady, with};

const SECS: fn(u64) -> Duration = Duration::from_secs;

pub(super) fn stale_for(secs: u64) -> Consistency {
    Consistency::StaleFor(SECS(secs))
}

/// One attempt a call, and a store without a window.
pub(super) fn settings() -> Config {
    Config::new(SECS(10))
        .retry(steady().attempts(1))
        .stale(StaleConfig::new().store_bytes(1 << 20))
}

type Answered = Result<Response<DriverBody<Full<Bytes>>>, Error>;

pub(super) struct Shop {
    service: StandardService<Mock>,
    pub(super) mock: Mock,
}

impl Shop {
    pub(super) fn new(settings: &Config, steps: impl IntoIterator<Item = Step>) -> Self {
        let mock = Mock::new(steps);
        Self {
            service: StandardLayer::from_config(settings)
                .unwrap()
                .layer(mock.clone()),
            mock,
        }
    }

    pub(super) async fn ask(&self, request: Request<Full<Bytes>>) -> Answered {
        self.service.clone().oneshot(request).await
    }

    /// Reads the wish list, up to a minute old, to the end of its body.
    pub(super) async fn read(&self) -> Answered {
        let mut response = self.ask(get(Some(stale_for(60)))).await?;
        let read = response.body_mut().collect().await.unwrap().to_bytes();
        response.extensions_mut().insert(read);
        Ok(response)
    }
}

pub(super) fn get(consistency: Option<Consistency>) -> Request<Full<Bytes>> {
    asking(Method::GET, &[], consistency)
}

fn asking(
    method: Method,
    headers: &[(&str, &str)],
    consistency: Option<Consistency>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri("https://shop.test/wishes");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Full::default()).unwrap();
    if let Some(consistency) = consistency {
        let options = Options::new().consistency(consistency);
        request.extensions_mut().insert(options);
    }
    request
}

fn staleness(response: &Response<DriverBody<Full<Bytes>>>) -> Option<&Staleness> {
    response.extensions().get()
}

pub(super) const REFUSED: Step = Step::Fail(ErrorKind::ConnectionRefused);

#[tokio::test(start_paused = true)]
async fn last_good_response_stands_in_for_a_failure_with_its_age_and_the_failure_beside_it() {
    let shop = Shop::new(&settings(), [saying(200, "a bicycle"), REFUSED]);
    let fresh = shop.read().await.unwrap();
    assert!(staleness(&fresh).is_none());
    advance(SECS(30)).await;
    let stale = shop.read().await.unwrap();
    assert_eq!(stale.status(), 200);
    assert_eq!(stale.headers()["age"], "30");
    assert_eq!(stale.extensions().get::<Bytes>().unwrap(), "a bicycle");
    let staleness = staleness(&stale).unwrap();
    assert_eq!(staleness.age(), SECS(30));
    let error = staleness.error().unwrap();
    // A foreign service proves nothing about the connection.
    let failure = (Some(Hop::Server), Effect::Possible);
    assert_eq!((error.hop(), error.effect()), failure);

    let timeline = stale.body().timeline();
    assert_eq!(timeline.attempt_count(), 1);
    let attempt = &timeline.attempts()[0];
    let failed = |outcome| {
        let Outcome::Failed { hop, effect, .. } = outcome else {
            return None;
        };
        Some((hop, effect))
    };
    assert_eq!(failed(attempt.outcome()), Some(failure));
    assert_eq!(timeline.outcome(), Some(Outcome::Responded(stale.status())));
    let TimelineEventKind::Stale { age, instead_of } = timeline.events().pop().unwrap().kind else {
        panic!("{timeline}");
    };
    assert_eq!(age, SECS(30));
    assert_eq!(failed(instead_of.unwrap()), Some(failure));
    let drawn = timeline.to_string();
    let row = "stale response, 30.00 s old, in place of: server, ";
    assert!(drawn.contains(row), "{drawn}");
}

#[tokio::test(start_paused = true)]
async fn error_comes_back_after_the_window_and_to_who_refuses() {
    let shop = Shop::new(
        &settings(),
        [saying(200, "a bicycle"), REFUSED, REFUSED, REFUSED],
    );
    shop.read().await.unwrap();
    for (wait, consistency) in [
        (30, Some(Consistency::Refuse)),
        (0, None),
        (60, Some(stale_for(60))),
    ] {
        advance(SECS(wait)).await;
        let error = shop.ask(get(consistency)).await.unwrap_err();
        assert_eq!(error.hop(), Some(Hop::Server), "{consistency:?}");
        let outcome = error.timeline().unwrap().outcome();
        assert!(matches!(outcome, Some(Outcome::Failed { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn responses_that_must_not_be_used() {
    let plain: &[(&str, &str)] = &[];
    let bearer: &[(&str, &str)] = &[("authorization", "Bearer 1")];
    let german: &[(&str, &str)] = &[("accept-language", "de")];
    let english: &[(&str, &str)] = &[("accept-language", "en")];
    for (first, then, response) in [
        (plain, plain, with(200, "cache-control", "no-store")),
        (plain, plain, with(200, "cache-control", "private")),
        (plain, plain, with(200, "cache-control", "must-revalidate")),
        (plain, plain, status(206)),
        (bearer, bearer, status(200)),
        (german, english, with(200, "vary", "accept-language")),
        (
            bearer,
            &[("authorization", "Bearer 2")],
            with(200, "cache-control", "public"),
        ),
        (&[("cookie", "id=1")], &[("cookie", "id=2")], status(200)),
        (&[("x-api-key", "1")], &[("x-api-key", "2")], status(200)),
        (bearer, plain, with(200, "cache-control", "public")),
        (
            plain,
            plain,
            Step::Answer(200, vec![], Bytes::from(vec![0; (256 << 10) + 1])),
        ),
    ] {
        let shop = Shop::new(&settings(), [response.clone(), REFUSED]);
        let ask = |headers| shop.ask(asking(Method::GET, headers, Some(stale_for(60))));
        let body = ask(first).await.unwrap().into_body();
        body.collect().await.unwrap();
        assert!(ask(then).await.is_err(), "{first:?} {then:?} {response:?}");
    }
    let same = Shop::new(&settings(), [with(200, "cache-control", "public"), REFUSED]);
    for _ in 0..2 {
        let request = asking(Method::GET, bearer, Some(stale_for(60)));
        let body = same.ask(request).await.unwrap().into_body();
        body.collect().await.unwrap();
    }
    let post = Shop::new(
        &settings(),
        [with(200, "cache-control", "max-age=60"), REFUSED],
    );
    for is_good in [true, false] {
        let answered = post
            .ask(asking(Method::POST, plain, Some(stale_for(60))))
            .await;
        assert_eq!(answered.is_ok(), is_good);
    }
}

#[tokio::test(start_paused = true)]
async fn word_of_the_server_is_the_stricter() {
    for (wait, is_served) in [(20, true), (21, false)] {
        let good = with(200, "cache-control", "stale-if-error=20");
        let shop = Shop::new(&settings(), [good, REFUSED]);
        shop.read().await.unwrap();
        advance(SECS(wait)).await;
        assert_eq!(shop.read().await.is_ok(), is_served, "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn server_errors_have_a_substitute_and_client_errors_have_none() {
    for (code, is_stale) in [
        (500, true),
        (503, true),
        (504, true),
        (404, false),
        (400, false),
        (429, false),
    ] {
        let shop = Shop::new(&settings(), [saying(200, "a bicycle"), saying(code, "no")]);
        shop.read().await.unwrap();
        let answered = shop.read().await.unwrap();
        let status = if is_stale { 200 } else { code };
        assert_eq!(answered.status(), status);
        let error = staleness(&answered).map(|stale| stale.error().unwrap());
        let failed = error.map(|error| error.status().unwrap().as_u16());
        assert_eq!(failed, is_stale.then_some(code));
        let timeline = answered.body().timeline();
        let attempt = timeline.attempts().remove(0);
        assert_eq!(attempt.status().unwrap(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn open_circuit_is_served_without_an_attempt() {
    let shop = Shop::new(&settings(), [saying(200, "a bicycle")]);
    shop.read().await.unwrap();
    let breaker =
        StandardLayer::from_config(&settings().circuit_breaker(CircuitBreakerConfig::new()))
            .unwrap();
    let service = breaker.layer(shop.mock.clone());
    let ask = || service.clone().oneshot(get(Some(stale_for(60))));
    ask().await.unwrap().into_body().collect().await.unwrap();
    breaker
        .breaker_handle()
        .isolate(&"https://shop.test".parse().unwrap());
    let before = shop.mock.count();
    let stale = ask().await.unwrap();
    let error = staleness(&stale).unwrap().error().unwrap();
    assert_eq!(error.rejected_by(), Some(Policy::Breaker));
    assert_eq!(shop.mock.count(), before);
    let timeline = stale.body().timeline();
    assert_eq!(timeline.attempt_count(), 0);
    let notes: Vec<_> = timeline
        .events()
        .into_iter()
        .map(|note| note.kind)
        .collect();
    assert!(matches!(
        notes[..],
        [
            TimelineEventKind::Rejected(Policy::Breaker),
            TimelineEventKind::Stale { .. }
        ]
    ));
}

#[tokio::test(start_paused = true)]
async fn passed_deadline_is_answered_after_all_retries() {
    let config = Config::new(SECS(10)).stale(StaleConfig::new().store_bytes(1 << 20));
    let hang = || Step::Hang;
    let shop = Shop::new(&config, [saying(200, "a bicycle"), hang(), hang(), hang()]);
    shop.read().await.unwrap();
    let began = tokio::time::Instant::now();
    let stale = shop.read().await.unwrap();
    assert_eq!(began.elapsed(), SECS(10));
    let error = staleness(&stale).unwrap().error().unwrap();
    assert!(error.is_timeout());
    assert_eq!(error.effect(), Effect::Possible);
    let timeline = stale.body().timeline();
    assert!(timeline.attempt_count() > 1);
    assert_eq!(timeline.effect(), Effect::Possible);
    assert_eq!(stale.extensions().get::<Bytes>().unwrap(), "a bicycle");
}

#[tokio::test(start_paused = true)]
async fn retry_comes_first() {
    let config = settings().retry(steady());
    let shop = Shop::new(
        &config,
        [saying(200, "old"), status(503), saying(200, "new")],
    );
    shop.read().await.unwrap();
    let answered = shop.read().await.unwrap();
    assert!(staleness(&answered).is_none());
    assert_eq!(answered.extensions().get::<Bytes>().unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn target_of_a_redirect_is_not_the_response_of_the_first_url() {
    let moved = with(302, "location", "https://other.test/");
    let shop = Shop::new(&settings(), [moved, saying(200, "other"), REFUSED]);
    shop.read().await.unwrap();
    assert!(shop.read().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn own_write_is_never_undone_by_an_older_read() {
    let put = || asking(Method::PUT, &[], None);
    for (write, is_served) in [
        (status(200), false),
        (Step::Fail(ErrorKind::ConnectionReset), false),
        (status(422), true),
    ] {
        let shop = Shop::new(&settings(), [saying(200, "old"), write.clone(), REFUSED]);
        shop.read().await.unwrap();
        advance(SECS(1)).await;
        let _ = shop.ask(put()).await;
        assert_eq!(shop.read().await.is_ok(), is_served, "{write:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn write_that_a_redirect_leads_elsewhere_ends_the_responses_there() {
    let [moved, seen] = [307, 303].map(|status| with(status, "location", "/wishes"));
    for (redirect, is_write) in [(moved, true), (seen, false)] {
        let steps = [saying(200, "a bicycle"), redirect, status(200), REFUSED];
        let shop = Shop::new(&settings(), steps);
        shop.read().await.unwrap();
        advance(SECS(1)).await;
        let post = Request::post("https://shop.test/lists").body(Full::from("a tent"));
        shop.ask(post.unwrap()).await.unwrap();
        advance(SECS(1)).await;
        assert_eq!(shop.read().await.is_err(), is_write);
    }
}

#[tokio::test(start_paused = true)]
async fn stored_body_that_is_too_long_for_the_call_does_not_stand_in() {
    let long = || saying(200, "a bicycle and a tent");
    let shop = Shop::new(&settings(), [long(), long(), REFUSED, REFUSED]);
    shop.read().await.unwrap();
    let bounded = |most| {
        let mut request = get(None);
        let options = Options::new().consistency(stale_for(60)).whole_body(most);
        request.extensions_mut().insert(options);
        request
    };
    let error = shop.ask(bounded(9)).await.unwrap_err();
    assert_eq!(error.kind(), sevenhops::Kind::TooLarge);
    let error = shop.ask(bounded(9)).await.unwrap_err();
    assert_eq!(error.hop(), Some(Hop::Server));
    assert!(staleness(&shop.ask(bounded(99)).await.unwrap()).is_some());
}
