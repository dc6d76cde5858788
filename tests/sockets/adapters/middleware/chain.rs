//! The stack between other middleware.

use std::pin::Pin;

use http::Extensions;
use reqwest_middleware::{ClientBuilder, Next, Result};
use sevenhops::{IdempotencyKey, Options, StandardLayer, testing::Reply};

use super::foreign;
use crate::adapters::world::{World, base, keys};

#[tokio::test]
async fn options_apply_in_every_stack_of_a_chain() {
    let world = World::new().await;
    let policies = || StandardLayer::from_config(&world.settings()).unwrap();
    let client = ClientBuilder::new(foreign(&world))
        .with(policies())
        .with(policies())
        .build();
    let key = Options::new().idempotency_key(IdempotencyKey::new("order-4711").unwrap());
    let once = key.clone().attempts(1);
    for (options, sent) in [(Options::new(), 1), (key, 2), (once, 1)] {
        let server = world.server().await;
        server.on_request((0..9).map(|_| Reply::CloseAfterRequest));
        let post = client.post(base(&server)).body("amount=100");
        let _ = post.with_extension(options).send().await;
        let keys = keys(&server);
        assert_eq!(keys.len(), sent, "{keys:?}");
        assert!(keys[0].is_some() && keys.iter().all(|key| *key == keys[0]));
    }
}

type Going<'a> = Pin<Box<dyn Future<Output = Result<reqwest::Response>> + Send + 'a>>;

/// Counts the attempts that pass.
#[derive(Clone, Copy, Default)]
struct Passed(u32);

fn counting<'a>(
    request: reqwest::Request,
    extensions: &'a mut Extensions,
    next: Next<'a>,
) -> Going<'a> {
    extensions.get_or_insert_default::<Passed>().0 += 1;
    next.run(request, extensions)
}

/// Reports the counted number in a header.
fn telling<'a>(
    request: reqwest::Request,
    extensions: &'a mut Extensions,
    next: Next<'a>,
) -> Going<'a> {
    Box::pin(async move {
        let mut response = next.run(request, extensions).await?;
        let passed = extensions.get::<Passed>().copied().unwrap_or_default();
        response.headers_mut().insert("x-passed", passed.0.into());
        Ok(response)
    })
}

#[tokio::test]
async fn middleware_on_both_sides_of_the_stack_still_share_extensions() {
    let world = World::new().await;
    let server = world.server().await;
    server.on_request([Reply::CloseAfterRequest]);
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let client = ClientBuilder::new(foreign(&world))
        .with(telling)
        .with(policies)
        .with(counting);
    let response = client.build().get(base(&server)).send().await.unwrap();
    assert_eq!(response.headers()["x-passed"], "2");
}
