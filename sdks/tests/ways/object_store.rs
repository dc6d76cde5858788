//! object_store, whose connector may use a bare client or any service for requests.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientOptions, ObjectStoreExt, RetryConfig, path::Path};
use sevenhops::testing::{CannedResponse, Reply};
use sevenhops::{Effect, Hop, Kind, StandardLayer};
use tower::Layer;

use super::connector::Stack;
use super::world::{BoxError, Fault, Move, World, base, found, throttled, told};

/// A bare client for all of its requests.
#[derive(Debug)]
struct Bare(reqwest::Client);

impl HttpConnector for Bare {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

fn s3(connector: impl HttpConnector, url: &str) -> AmazonS3 {
    let never = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    AmazonS3Builder::new()
        .with_endpoint(url)
        .with_bucket_name("bucket")
        .with_region("eu-central-1")
        .with_access_key_id("id")
        .with_secret_access_key("secret")
        .with_retry(never)
        .with_http_connector(connector)
        .build()
        .unwrap()
}

fn over_bare(world: &World, url: &str) -> AmazonS3 {
    s3(Bare(world.transport().build_reqwest().unwrap()), url)
}

fn over_stack(world: &World, url: &str) -> AmazonS3 {
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    s3(
        Stack(policies.layer(world.transport().build().unwrap())),
        url,
    )
}

async fn get(s3: &AmazonS3) -> Result<usize, BoxError> {
    Ok(s3.get(&Path::from("a")).await?.bytes().await?.len())
}

/// S3's only POST: the beginning of an upload in parts.
async fn begin(s3: &AmazonS3) -> Result<(), BoxError> {
    s3.put_multipart(&Path::from("a")).await?;
    Ok(())
}

fn object() -> CannedResponse {
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    let answer = CannedResponse::json("[1,2,3]").header("etag", "\"1\"");
    answer.header("last-modified", date)
}

#[tokio::test]
async fn set_up_is_named_with_a_bare_client() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let stage = world.stage(fault).await;
        let expected = match fault {
            Fault::Silent => told(None, Kind::Timeout, Effect::Possible),
            // It treats a response without a date as a missing one, before it reads the rest.
            Fault::Truncated => continue,
            _ => fault.named(),
        };
        let told = found(get(&over_bare(&world, &stage.url)).await);
        assert_eq!(told, expected, "{fault:?}");
        assert!(stage.requests() <= 1);
    }
}

#[tokio::test]
async fn every_hop_is_named_with_the_whole_stack() {
    for fault in Fault::ALL {
        if fault == Fault::Truncated {
            continue;
        }
        let world = World::new().await;
        let stage = world.stage(fault).await;
        let told = found(get(&over_stack(&world, &stage.url)).await);
        assert_eq!(told, fault.named(), "{fault:?}");
    }
}

#[tokio::test]
async fn object_that_breaks_off_is_told_by_both() {
    let world = World::new().await;
    let short = object().body("[1").header("content-length", "100");
    for stack in [false, true] {
        let server = world.server().await;
        server.default_reply(Reply::AnswerThenClose(short.clone()));
        let (s3, effect) = match stack {
            true => (over_stack(&world, &base(&server)), Effect::Done),
            false => (over_bare(&world, &base(&server)), Effect::Possible),
        };
        let expected = told(Hop::Receive, Kind::Incomplete, effect);
        assert_eq!(found(get(&s3).await), expected, "stack: {stack}");
    }
}

#[tokio::test]
async fn throttled_call_is_repeated_by_the_stack_when_the_server_said() {
    let world = World::new().await;
    let server = world.server().await;
    server.default_reply(object());
    server.on_request([throttled()]);
    let begun = tokio::time::Instant::now();
    assert_eq!(get(&over_stack(&world, &base(&server))).await.unwrap(), 7);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.requests_seen(), 2);
    server.on_request([throttled()]);
    let _ = get(&over_bare(&world, &base(&server))).await.unwrap_err();
    assert_eq!(server.requests_seen(), 3, "the SDK was told not to retry");
}

#[tokio::test]
async fn post_whose_answer_was_lost_is_not_repeated_unasked() {
    let world = World::new().await;
    for stack in [false, true] {
        let server = world.server().await;
        server.on_request([Reply::CloseAfterRequest]);
        let s3 = match stack {
            true => over_stack(&world, &base(&server)),
            false => over_bare(&world, &base(&server)),
        };
        let (_, _, effect) = found(begin(&s3).await);
        assert_eq!((effect, server.requests_seen()), (Effect::Possible, 1));
    }
}

#[tokio::test]
async fn dns_reaches_the_pool_of_the_stack_and_new_connections_of_a_bare_client() {
    let world = World::new().await;
    for (stack, expected) in [(true, (1, 1)), (false, (2, 0))] {
        let moved = Move::new(&world).await;
        for server in [&moved.before, &moved.after] {
            server.default_reply(object());
        }
        let (url, transport) = (base(&moved.before), world.transport());
        let transport = transport.resolver(moved.dns.clone());
        let s3 = if stack {
            let policies = StandardLayer::from_config(&world.settings()).unwrap();
            s3(Stack(policies.layer(transport.build().unwrap())), &url)
        } else {
            s3(Bare(transport.build_reqwest().unwrap()), &url)
        };
        get(&s3).await.unwrap();
        moved.dns.move_to(2);
        get(&s3).await.unwrap();
        assert_eq!(moved.seen(), expected, "stack: {stack}");
    }
}
