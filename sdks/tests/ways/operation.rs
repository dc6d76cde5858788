//! An operation around async-openai, which sends with a bare client of ours.

use std::time::Duration;

use async_openai::traits::RequestOptionsBuilder;
use async_openai::types::embeddings::CreateEmbeddingRequestArgs;
use http::StatusCode;
use sevenhops::RetryConfig;
use sevenhops::{
    Effect, Error, Hop, Kind, Operation, OperationAttempt, OperationConfig, OperationError,
    hop::{NoRetryReason, Stage, StageOutcome},
    policy::retry::Backoff,
    testing::{CannedResponse, ConnFault, FaultServer, Reply},
};

use super::openai::{MODELS, OpenAI, list, once, over_bare, over_stack, unboxed};
use super::world::{DEADLINE, Fault, NAME, World, base, keys, told};

/// Two attempts, because the fault holds for two.
fn operation() -> Operation {
    let backoff = Backoff::new().base(Duration::from_millis(20));
    let retry = RetryConfig::new().attempts(2).unsent_attempts(2);
    let retry = retry.backoff(backoff);
    let settings = OperationConfig::new(DEADLINE).retry(retry);
    Operation::from_config("openai", settings).unwrap()
}

async fn listed(operation: &Operation, openai: &OpenAI) -> Result<usize, Error> {
    let list = async |_| list(openai).await.map_err(OperationError::from_error);
    operation.run(list).await
}

/// A POST that passes the key on, if there is one.
async fn embed(openai: &OpenAI, key: Option<&OperationAttempt>) -> Result<(), OperationError> {
    let mut request = CreateEmbeddingRequestArgs::default();
    let request = request.model("a-model").input("text").build()?;
    let mut embeddings = openai.embeddings();
    if let Some(attempt) = key {
        embeddings = embeddings.header("idempotency-key", attempt.idempotency_key().as_str())?;
    }
    let created = embeddings.create(request).await;
    created
        .map(drop)
        .map_err(|error| OperationError::from_error(unboxed(error)))
}

fn sdk(world: &World, server: &FaultServer) -> OpenAI {
    once(world.transport().build_reqwest().unwrap(), &base(server))
}

#[tokio::test]
async fn hops_of_the_sdk_land_in_the_timeline_and_in_the_error() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let stage = world.stage(fault).await;
        let openai = once(world.transport().build_reqwest().unwrap(), &stage.url);
        let error = listed(&operation(), &openai).await.unwrap_err();
        let expected = match fault {
            // After the setup no part of this crate sees the hop. The error may name it or not.
            Fault::Silent => told(None, Kind::Timeout, Effect::Possible),
            Fault::Truncated => told(Hop::Receive, Kind::Incomplete, Effect::Possible),
            _ => fault.named(),
        };
        let (hop, kind) = (error.hop(), error.kind());
        assert_eq!((hop, kind, error.effect()), expected, "{fault:?}");
        let attempts = error.timeline().unwrap().attempts();
        let last = attempts.last().unwrap();
        let failed = last
            .stages()
            .iter()
            .rfind(|row| row.outcome() != StageOutcome::Completed);
        let failed = failed.map(|row| (row.stage(), row.outcome()));
        let seen = hop
            .and_then(Stage::of)
            .filter(|stage| *stage != Stage::Receive);
        let stage = seen.unwrap_or(Stage::Wait);
        assert_eq!(
            failed,
            Some((stage, StageOutcome::Failed(kind))),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn error_of_a_client_that_is_not_ours_names_the_hop_if_it_can() {
    for (fault, hop) in [
        (Fault::Refused, Hop::Connect),
        (Fault::UnknownIssuer, Hop::Tls),
    ] {
        let world = World::new().await;
        let stage = world.stage(fault).await;
        let theirs = reqwest::Client::builder()
            .tls_backend_preconfigured(world.authority.client_config())
            .resolve(NAME, ([127, 0, 0, 1], 0).into());
        let openai = once(theirs.build().unwrap(), &stage.url);
        let error = listed(&operation(), &openai).await.unwrap_err();
        let (_, kind, _) = fault.named();
        let expected = told(hop, kind, Effect::Possible);
        assert_eq!((error.hop(), error.kind(), error.effect()), expected);
    }
}

#[tokio::test]
async fn what_was_not_sent_is_repeated() {
    let world = World::new().await;
    let server = world.server().await;
    server.default_reply(CannedResponse::json(EMBEDDED));
    server.on_connection([ConnFault::ResetAtOnce]);
    let openai = sdk(&world, &server);
    let operation = operation();
    let run = operation.run(async |_| embed(&openai, None).await);
    run.await.unwrap();
    assert_eq!((server.connections(), server.requests_seen()), (2, 1));
}

#[tokio::test]
async fn post_whose_answer_was_lost_is_a_maybe_and_not_repeated() {
    let world = World::new().await;
    let server = world.server().await;
    server.on_request([Reply::CloseAfterRequest]);
    let openai = sdk(&world, &server);
    let operation = operation();
    let run = operation.run(async |_| embed(&openai, None).await);
    let error = run.await.unwrap_err();
    assert_eq!((error.effect(), error.attempts()), (Effect::Possible, 1));
    assert!(matches!(
        error.no_retry_reason(),
        Some(NoRetryReason::NotIdempotent { .. })
    ));
    assert_eq!(server.requests_seen(), 1);
}

#[tokio::test]
async fn post_whose_answer_was_lost_is_repeated_under_a_key_that_is_honored() {
    let world = World::new().await;
    for honors in [true, false] {
        let server = world.server().await;
        server.default_reply(CannedResponse::json(EMBEDDED));
        server.on_request([Reply::CloseAfterRequest]);
        let openai = sdk(&world, &server);
        let operation = operation().honors_idempotency_keys(honors);
        let run = operation.run(async |attempt| embed(&openai, Some(&attempt)).await);
        assert_eq!(run.await.is_ok(), honors);
        let keys = keys(&server);
        assert_eq!(keys.len(), if honors { 2 } else { 1 });
        assert!(keys[0].is_some() && keys.iter().all(|key| *key == keys[0]));
    }
}

#[tokio::test]
async fn repeats_of_the_operation_are_the_only_ones() {
    let world = World::new().await;
    for stack in [false, true] {
        let server = world.server().await;
        server.default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
        let openai = match stack {
            true => over_stack(&world, &base(&server)),
            false => sdk(&world, &server),
        };
        let error = listed(&operation().idempotent(true), &openai)
            .await
            .unwrap_err();
        assert_eq!(
            (error.attempts(), server.requests_seen()),
            (2, 2),
            "stack: {stack}"
        );
    }
}

#[tokio::test]
async fn sdk_that_repeats_by_itself_does_so_under_an_operation_of_one_attempt() {
    let world = World::new().await;
    let server = world.server().await;
    server.default_reply(CannedResponse::json(MODELS));
    server.on_request([CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into()]);
    let settings =
        OperationConfig::new(DEADLINE).retry(RetryConfig::new().attempts(1).unsent_attempts(1));
    let operation = Operation::from_config("openai", settings).unwrap();
    let openai = over_bare(world.transport().build_reqwest().unwrap(), &base(&server));
    listed(&operation, &openai).await.unwrap();
    assert_eq!(server.requests_seen(), 2);
}

const EMBEDDED: &str = r#"{"object":"list","model":"a-model","data":[],
    "usage":{"prompt_tokens":1,"total_tokens":1}}"#;
