//! Tests a caller's retry above the stack: reqwest-retry, and the middleware between it and the stack.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use http::{Extensions, StatusCode};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next, Result};
use reqwest_retry::{
    RetryDecision, RetryPolicy, RetryTransientMiddleware, Retryable, RetryableStrategy,
};
use sevenhops::hop::{FailureClass, TimelineEventKind};
use sevenhops::testing::{CannedResponse, ConnFault, FaultServer, Identity, Reply, TestCa};
use sevenhops::{Effect, Hop, Kind, StandardLayer, Timeline, sdk};

use super::world::{NAME, World, base, keys};

type Going<'a> = Pin<Box<dyn Future<Output = Result<reqwest::Response>> + Send + 'a>>;

/// Retries twice, without a wait.
struct AtOnce;

impl RetryPolicy for AtOnce {
    fn should_retry(&self, _begun: SystemTime, past: u32) -> RetryDecision {
        match past {
            0 | 1 => RetryDecision::Retry {
                execute_after: SystemTime::UNIX_EPOCH,
            },
            _ => RetryDecision::DoNotRetry,
        }
    }
}

/// Retries after errors, and not after responses.
struct AfterErrors;

impl RetryableStrategy for AfterErrors {
    fn handle(&self, response: &Result<reqwest::Response>) -> Option<Retryable> {
        response.is_err().then_some(Retryable::Transient)
    }
}

fn after_errors() -> impl Middleware {
    RetryTransientMiddleware::new_with_policy_and_strategy(AtOnce, AfterErrors)
}

/// Returns the retry over this crate's transport, and over the policies around a caller's client.
fn both(world: &World) -> [ClientWithMiddleware; 2] {
    let bare = || world.transport().build_reqwest().unwrap();
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let over = |client: ClientBuilder| client.with(after_errors());
    [
        over(ClientBuilder::new(bare()))
            .with(world.client())
            .build(),
        over(ClientBuilder::new(bare())).with(policies).build(),
    ]
}

/// Returns how often a server that honors keys has charged.
fn charges(server: &FaultServer) -> usize {
    let keys: HashSet<_> = keys(server).into_iter().map(Option::unwrap).collect();
    keys.len()
}

fn tries(timeline: &Timeline) -> Vec<TimelineEventKind> {
    timeline
        .events()
        .into_iter()
        .map(|note| note.kind)
        .collect()
}

fn lost() -> Reply {
    Reply::CloseAfterRequest
}

#[tokio::test]
async fn retries_of_the_caller_charge_once_with_the_key_of_the_first_try() {
    let world = World::new().await;
    for client in both(&world) {
        let server = world.server().await;
        server.on_request([lost(), lost()]);
        let response = client.post(base(&server)).body("amount=100").send().await;
        let response = sevenhops::Response::from(response.unwrap());
        let timeline = response.timeline().unwrap();
        assert_eq!(
            tries(timeline),
            [TimelineEventKind::CallerRetry { number: 3 }]
        );
        assert_eq!((server.requests_seen(), charges(&server)), (3, 1));
    }
}

#[tokio::test]
async fn another_call_has_another_key() {
    let world = World::new().await;
    for client in both(&world) {
        let server = world.server().await;
        for _ in 0..2 {
            server.on_request([lost()]);
            let charge = client.post(base(&server)).body("amount=100");
            charge.send().await.unwrap();
        }
        assert_eq!((server.requests_seen(), charges(&server)), (4, 2));
    }
}

#[tokio::test]
async fn retry_after_a_status_keeps_the_key_too() {
    let world = World::new().await;
    let server = world.server().await;
    server.on_request([CannedResponse::new(StatusCode::INTERNAL_SERVER_ERROR).into()]);
    let client = ClientBuilder::new(world.transport().build_reqwest().unwrap())
        .with(RetryTransientMiddleware::new_with_policy(AtOnce))
        .with(world.client())
        .build();
    let response = client.post(base(&server)).body("amount=100").send().await;
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!((server.requests_seen(), charges(&server)), (2, 1));
}

/// Breaks each connection once the server has a request.
struct Breaking(Arc<FaultServer>, Identity);

#[async_trait::async_trait]
impl Middleware for Breaking {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response> {
        if self.0.requests_seen() > 0 {
            let wrong = ConnFault::WrongCertificate(self.1.clone());
            self.0.on_connection([wrong.clone(), wrong]);
        }
        next.run(request, extensions).await
    }
}

#[tokio::test]
async fn error_of_the_last_try_includes_the_effect_of_the_first() {
    let world = World::new().await;
    let server = Arc::new(world.server().await);
    server.on_request([lost()]);
    let wrong = TestCa::new().unwrap().issue(&[NAME]).unwrap();
    let client = ClientBuilder::new(world.transport().build_reqwest().unwrap())
        .with(after_errors())
        .with(Breaking(Arc::clone(&server), wrong))
        .with(world.client())
        .build();
    let charge = client.post(base(&server)).body("amount=100");
    let error = charge.send().await.unwrap_err();
    let found = sdk::classify_error(&error);
    assert_eq!(
        (found.hop(), found.kind(), found.effect()),
        (
            Some(Hop::Tls),
            Kind::CertificateUnknownIssuer,
            Effect::Possible
        )
    );
    let timeline = found.timeline().unwrap();
    assert_eq!(
        tries(timeline),
        [TimelineEventKind::CallerRetry { number: 3 }]
    );
    assert_eq!(timeline.effect(), Effect::Possible);
}

/// Gives up the first try as soon as the server has the request.
struct Impatient(Arc<FaultServer>);

#[async_trait::async_trait]
impl Middleware for Impatient {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response> {
        if self.0.requests_seen() > 0 {
            return next.run(request, extensions).await;
        }
        tokio::select! {
            response = next.run(request, extensions) => response,
            _ = self.0.wait_until(|stats| stats.requests == 1) => {
                Err(reqwest_middleware::Error::middleware(std::io::Error::other("impatient")))
            }
        }
    }
}

#[tokio::test]
async fn given_up_try_passes_its_key_on() {
    let world = World::new().await;
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    for over_guards in [false, true] {
        let server = Arc::new(world.server().await);
        server.on_request([Reply::Silent]);
        let client = ClientBuilder::new(world.transport().build_reqwest().unwrap())
            .with(after_errors())
            .with(Impatient(Arc::clone(&server)));
        let client = match over_guards {
            true => client.with(policies.clone()),
            false => client.with(world.client()),
        };
        let charge = client.build().post(base(&server)).body("amount=100");
        let response = sevenhops::Response::from(charge.send().await.unwrap());
        let timeline = response.timeline().unwrap();
        assert_eq!(
            tries(timeline),
            [TimelineEventKind::CallerRetry { number: 2 }]
        );
        assert_eq!(timeline.effect(), Effect::Done);
        assert_eq!((server.requests_seen(), charges(&server)), (2, 1));
    }
}

/// Asks for a token at another URL before each try.
fn asks_for_a_token<'a>(
    request: reqwest::Request,
    extensions: &'a mut Extensions,
    next: Next<'a>,
) -> Going<'a> {
    Box::pin(async move {
        let token = request.url().join("/token").unwrap();
        let token = reqwest::Request::new(reqwest::Method::POST, token);
        next.clone().run(token, extensions).await?;
        next.run(request, extensions).await
    })
}

#[tokio::test]
async fn requests_that_middleware_adds_have_their_own_keys() {
    let world = World::new().await;
    let server = world.server().await;
    let token = || Reply::from(CannedResponse::json("1"));
    server.on_request([token(), lost(), token(), lost(), token()]);
    let client = ClientBuilder::new(world.transport().build_reqwest().unwrap())
        .with(after_errors())
        .with(asks_for_a_token)
        .with(world.client())
        .build();
    let charge = client.post(base(&server)).body("amount=100");
    charge.send().await.unwrap();
    let keys = keys(&server);
    assert_eq!(keys.len(), 6);
    assert_eq!((&keys[1], &keys[1]), (&keys[3], &keys[5]), "the charge");
    let tokens: HashSet<_> = [&keys[0], &keys[2], &keys[4], &keys[1]].into();
    assert_eq!(tokens.len(), 4, "each token was given before the next try");
}

#[tokio::test]
async fn inner_stack_counts_no_tries() {
    let world = World::new().await;
    let server = world.server().await;
    server.on_request([lost()]);
    let settings = world
        .settings()
        .idempotency(sevenhops::policy::idempotency::IdempotencyConfig::new().honored_by_all(true));
    let client = ClientBuilder::new(world.transport().build_reqwest().unwrap())
        .with(StandardLayer::from_config(&settings).unwrap())
        .with(world.client())
        .build();
    let response = client.post(base(&server)).body("amount=100").send().await;
    let response = sevenhops::Response::from(response.unwrap());
    let counted = |what: &TimelineEventKind| matches!(what, TimelineEventKind::CallerRetry { .. });
    assert!(!tries(response.timeline().unwrap()).iter().any(counted));
    assert_eq!((server.requests_seen(), charges(&server)), (2, 1));
}

#[tokio::test]
async fn stream_body_has_a_new_key_for_each_try() {
    let world = World::new().await;
    let server = world.server().await;
    let client = ClientBuilder::new(world.transport().build_reqwest().unwrap())
        .with(world.client())
        .build();
    let mut shared = Extensions::new();
    for _ in 0..2 {
        server.on_request([lost()]);
        let body = reqwest::Body::wrap(String::from("amount=100"));
        let charge = client.post(base(&server)).body(body).build().unwrap();
        let _ = client.execute_with_extensions(charge, &mut shared).await;
    }
    assert_eq!((server.requests_seen(), charges(&server)), (2, 2));
}

#[tokio::test]
async fn retry_of_the_caller_is_shown_in_the_waterfall_and_in_the_archive() {
    let world = World::new().await;
    let server = world.server().await;
    server.on_request([lost()]);
    let [client, _] = both(&world);
    let response = client.post(base(&server)).body("amount=100").send().await;
    let response = sevenhops::Response::from(response.unwrap());
    let timeline = response.timeline().unwrap();
    assert!(
        timeline.to_string().contains("\n  try 2 of the caller\n"),
        "{timeline}"
    );
    let archive: serde_json::Value = serde_json::from_str(&timeline.to_har().to_string()).unwrap();
    assert_eq!(archive["log"]["entries"][0]["_caller_try"], 2);
    #[cfg(feature = "serde")]
    {
        let note = &serde_json::to_value(timeline).unwrap()["events"][0];
        assert_eq!(note["kind"], "caller_retry");
        assert_eq!(note["number"], 2);
    }
}

/// Retries once more after a 200 that says that it failed.
struct AfterBadNews;

impl RetryableStrategy for AfterBadNews {
    fn handle(&self, response: &Result<reqwest::Response>) -> Option<Retryable> {
        let is_bad = |response: &reqwest::Response| response.headers().contains_key("x-failed");
        let failed = response.as_ref().map_or(true, is_bad);
        failed.then_some(Retryable::Transient)
    }
}

#[tokio::test]
async fn success_that_the_classifier_calls_a_failure_is_not_the_end_of_the_call() {
    let world = World::new().await;
    let server = world.server().await;
    let bad = CannedResponse::new(StatusCode::OK).header("x-failed", "1");
    server.on_request([bad.into()]);
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let policies = policies.classify_all(|response| {
        let is_bad = response.headers()?.contains_key("x-failed");
        is_bad.then_some(FailureClass::Permanent)
    });
    let retry = RetryTransientMiddleware::new_with_policy_and_strategy(AtOnce, AfterBadNews);
    let client = ClientBuilder::new(world.transport().build_reqwest().unwrap())
        .with(retry)
        .with(policies)
        .build();
    let response = client.post(base(&server)).body("amount=100").send().await;
    let response = sevenhops::Response::from(response.unwrap());
    assert_eq!(
        tries(response.timeline().unwrap()),
        [TimelineEventKind::CallerRetry { number: 2 }]
    );
    assert_eq!((server.requests_seen(), charges(&server)), (2, 1));
}
