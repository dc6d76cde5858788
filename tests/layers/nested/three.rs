//! Tests that three nested standard stacks are one call: one key, one set of retries, one effect.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use sevenhops::chaos::ChaosConfig;
use sevenhops::{
    Effect, Error, Options, RetryConfig, StandardLayer, StandardService, Timeline,
    chaos::{ChaosLayer, ChaosService, Fault},
};

use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, Step, optional, request, status, steady, with};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const LOST: Step = Step::Fail(ErrorKind::ConnectionReset);

type Three = StandardService<StandardService<StandardService<ChaosService<Mock>>>>;

/// Three stacks, outermost first, and the timelines of their finished calls.
struct Stacks {
    service: Three,
    mock: Mock,
    ended: Arc<Mutex<Vec<Timeline>>>,
}

impl Stacks {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::with([(); 3].map(|()| (10, steady())), ChaosConfig::new(0), steps)
    }

    /// Creates the stacks, each with its deadline in seconds and its retries.
    fn with(
        each: [(u64, RetryConfig); 3],
        chaos: ChaosConfig,
        steps: impl IntoIterator<Item = Step>,
    ) -> Self {
        let (mock, ended) = (Mock::new(steps), Arc::new(Mutex::new(Vec::new())));
        let [outer, middle, inner] = each.map(|(deadline, retry)| {
            let settings = sevenhops::Config::new(SECS(deadline)).retry(retry);
            let ended = Arc::clone(&ended);
            let layer = StandardLayer::from_config(&settings).unwrap();
            layer.on_complete(move |timeline| ended.lock().unwrap().push(timeline.clone()))
        });
        let leaf = ChaosLayer::new(chaos).unwrap().layer(mock.clone());
        Self {
            service: outer.layer(middle.layer(inner.layer(leaf))),
            mock,
            ended,
        }
    }

    async fn call(&self, request: Request<Full<Bytes>>) -> Result<StatusCode, Error> {
        let (head, body) = self.service.clone().oneshot(request).await?.into_parts();
        body.collect().await.map(|_| head.status)
    }

    /// Returns the effects of the finished calls, without duplicates.
    fn effects(&self) -> Vec<Effect> {
        let ended = self.ended.lock().unwrap();
        let mut effects: Vec<_> = ended.iter().map(Timeline::effect).collect();
        effects.dedup();
        effects
    }
}

fn key_of(mock: &Mock) -> Vec<String> {
    let keys = mock.asked().into_iter();
    let mut keys: Vec<_> = keys
        .map(|asked| {
            let all = asked.head.headers.get_all("idempotency-key").iter();
            let all: Vec<_> = all.map(|key| key.to_str().unwrap().to_owned()).collect();
            assert_eq!(all.len(), 1, "one key a request");
            all.concat()
        })
        .collect();
    keys.dedup();
    keys
}

#[tokio::test(start_paused = true)]
async fn charge_carries_one_key_through_all_attempts_and_legs() {
    let away = with(307, "location", "/v1/charges/2");
    let stacks = Stacks::new([LOST, away, status(503), status(201)]);
    let charge = optional(Method::POST, Options::new().honors_idempotency_keys(true));
    assert_eq!(stacks.call(charge).await.unwrap(), 201);
    assert_eq!(stacks.mock.count(), 4);
    assert_eq!(key_of(&stacks.mock).len(), 1);
    let own = Stacks::new([LOST]);
    let mut charge = optional(Method::POST, Options::new().honors_idempotency_keys(true));
    let key = "order-of-mine".parse().unwrap();
    charge.headers_mut().insert("idempotency-key", key);
    own.call(charge).await.unwrap();
    assert_eq!(
        (own.mock.count(), key_of(&own.mock)),
        (2, vec!["order-of-mine".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn one_of_three_stacks_retries() {
    let failing = || (0..99).map(|_| status(503));
    let stacks = Stacks::new(failing());
    assert_eq!(stacks.call(request(Method::GET)).await.unwrap(), 503);
    assert_eq!(stacks.mock.count(), 3);
    // The outermost stack that may retry does so.
    for (attempts, sent) in [
        ([4, 2, 2], 4),
        ([1, 4, 2], 4),
        ([1, 1, 4], 4),
        ([1, 1, 1], 1),
    ] {
        let each = attempts.map(|most| (10, steady().attempts(most)));
        let stacks = Stacks::with(each, ChaosConfig::new(0), failing());
        stacks.call(request(Method::GET)).await.unwrap();
        assert_eq!(stacks.mock.count(), sent, "{attempts:?}");
        assert_eq!(stacks.effects(), [Effect::Possible], "{attempts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn strictest_restraint_of_three_stacks_and_the_request_applies() {
    let failing = || (0..99).map(|_| status(503));
    let four = || [(); 3].map(|()| (10, steady().attempts(4)));
    let two = Options::new().attempts(2);
    for (options, sent) in [(Options::new().retry(false), 1), (two, 2)] {
        let stacks = Stacks::with(four(), ChaosConfig::new(0), failing());
        let get = optional(Method::GET, options);
        stacks.call(get).await.unwrap();
        assert_eq!(stacks.mock.count(), sent);
    }
    for deadlines in [[3, 20, 20], [20, 3, 20], [20, 20, 3], [3, 3, 3]] {
        let each = deadlines.map(|deadline| (deadline, steady().attempts(1)));
        let stacks = Stacks::with(each, ChaosConfig::new(0), [Step::Hang]);
        let began = Instant::now();
        let error = stacks.call(request(Method::POST)).await.unwrap_err();
        assert!(
            error.is_timeout() && began.elapsed() <= SECS(3),
            "{deadlines:?}: {error}"
        );
        assert_eq!(stacks.effects(), [Effect::Possible], "{deadlines:?}");
    }
    let stacks = Stacks::new([with(307, "location", "/v1/charges/2")]);
    let post = optional(Method::POST, Options::new().follow_redirects(false));
    assert_eq!(stacks.call(post).await.unwrap(), 307);
    assert_eq!(stacks.mock.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn three_stacks_agree_on_the_effect() {
    let refuses = ChaosConfig::new(0).inject(Fault::RefuseConnect, 1.0);
    let works = || ChaosConfig::new(0);
    for (chaos, step, effect, sent) in [
        (refuses, status(200), Effect::None, 0),
        (works(), status(404), Effect::Declined, 1),
        (works(), LOST, Effect::Possible, 1),
        (works(), status(409), Effect::Possible, 1),
        (works(), Step::Hang, Effect::Possible, 1),
        (works(), status(201), Effect::Done, 1),
    ] {
        let told = format!("{step:?}");
        let each = [(); 3].map(|()| (10, steady()));
        let stacks = Stacks::with(each, chaos, [step]);
        let called = stacks.call(request(Method::POST)).await;
        assert_eq!(stacks.mock.count(), sent, "{told}");
        assert_eq!(stacks.effects(), [effect], "{told}");
        if let Err(error) = called {
            assert_eq!(error.effect(), effect, "{told}: {error}");
        }
    }
}
