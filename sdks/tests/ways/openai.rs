//! async-openai, which takes a bare client, and now also a service.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use async_openai::middleware::ReqwestService;
use async_openai::types::embeddings::CreateEmbeddingRequestArgs;
use reqwest_middleware::ClientBuilder;
use sevenhops::testing::{CannedResponse, Reply};
use sevenhops::{Effect, Hop, Kind};
use tower::service_fn;

use super::world::{BoxError, Fault, Move, World, base, found, keys, throttled, told};

pub(super) type OpenAI = Client<OpenAIConfig>;

fn config(url: &str) -> OpenAIConfig {
    OpenAIConfig::new().with_api_base(url).with_api_key("key")
}

/// A bare client, with the retries of the SDK.
pub(super) fn over_bare(client: reqwest::Client, url: &str) -> OpenAI {
    Client::build(client, config(url))
}

/// A bare client, without retries.
pub(super) fn once(client: reqwest::Client, url: &str) -> OpenAI {
    let service = ReqwestService::new(client.clone());
    over_bare(client, url).with_http_service(service)
}

/// The whole stack.
pub(super) fn over_stack(world: &World, url: &str) -> OpenAI {
    let bare = world.transport().build_reqwest().unwrap();
    let stack = ClientBuilder::new(bare.clone())
        .with(world.client())
        .build();
    let service = service_fn(move |request: HttpRequestFactory| {
        let stack = stack.clone();
        async move {
            let request = request.build().await?;
            let answered = stack.execute(request).await;
            answered.map_err(|error| OpenAIError::Boxed(error.into()))
        }
    });
    over_bare(bare, url).with_http_service(service)
}

/// Its boxed error is printed as its own, and is not in the chain of causes.
pub(super) fn unboxed(error: OpenAIError) -> BoxError {
    match error {
        OpenAIError::Boxed(inner) => inner,
        other => other.into(),
    }
}

pub(super) async fn list(openai: &OpenAI) -> Result<usize, BoxError> {
    let listed = openai.models().list().await;
    Ok(listed.map_err(unboxed)?.data.len())
}

async fn embed(openai: &OpenAI) -> Result<usize, BoxError> {
    let mut request = CreateEmbeddingRequestArgs::default();
    let request = request.model("a-model").input("text").build()?;
    let created = openai.embeddings().create(request).await;
    Ok(created.map_err(unboxed)?.data.len())
}

pub(super) const MODELS: &str = r#"{"object":"list","data":[]}"#;

#[tokio::test]
async fn set_up_is_named_with_a_bare_client() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let stage = world.stage(fault).await;
        let openai = once(world.transport().build_reqwest().unwrap(), &stage.url);
        let expected = match fault {
            Fault::Silent => told(None, Kind::Timeout, Effect::Possible),
            Fault::Truncated => told(Hop::Receive, Kind::Incomplete, Effect::Possible),
            _ => fault.named(),
        };
        assert_eq!(found(list(&openai).await), expected, "{fault:?}");
        assert!(stage.requests() <= 1);
    }
}

#[tokio::test]
async fn every_hop_is_named_with_the_whole_stack() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let stage = world.stage(fault).await;
        let openai = over_stack(&world, &stage.url);
        assert_eq!(found(list(&openai).await), fault.named(), "{fault:?}");
    }
}

#[tokio::test]
async fn throttled_call_is_repeated_by_the_stack_when_the_server_said() {
    let world = World::new().await;
    let server = world.server().await;
    server.default_reply(CannedResponse::json(MODELS));
    server.on_request([throttled()]);
    let begun = tokio::time::Instant::now();
    list(&over_stack(&world, &base(&server))).await.unwrap();
    assert!(begun.elapsed().as_secs() >= 1);
    assert_eq!(server.requests_seen(), 2);

    server.on_request([throttled()]);
    let openai = once(world.transport().build_reqwest().unwrap(), &base(&server));
    // It shows neither the status nor a cause.
    let _ = list(&openai).await.unwrap_err();
    assert_eq!(server.requests_seen(), 3);
}

#[tokio::test]
async fn post_whose_answer_was_lost_is_not_repeated_unasked() {
    let world = World::new().await;
    for stack in [false, true] {
        let server = world.server().await;
        server.on_request([Reply::CloseAfterRequest]);
        let openai = match stack {
            true => over_stack(&world, &base(&server)),
            false => over_bare(world.transport().build_reqwest().unwrap(), &base(&server)),
        };
        let (_, _, effect) = found(embed(&openai).await);
        assert_eq!((effect, server.requests_seen()), (Effect::Possible, 1));
        assert_eq!(keys(&server)[0].is_some(), stack);
    }
}

#[tokio::test]
async fn dns_reaches_new_connections_of_a_bare_client_only() {
    let world = World::new().await;
    let moved = Move::new(&world).await;
    for server in [&moved.before, &moved.after] {
        server.default_reply(CannedResponse::json(MODELS));
    }
    let transport = world.transport().resolver(moved.dns.clone());
    let bare = transport.build_reqwest().unwrap();
    let openai = over_bare(bare.clone(), &base(&moved.before));
    list(&openai).await.unwrap();
    moved.dns.move_to(2);
    list(&openai).await.unwrap();
    assert_eq!(moved.seen(), (2, 0));
}
