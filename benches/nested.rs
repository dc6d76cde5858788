//! Nested stacks, whose compile time has a budget: `.ci/budget` compares it with and without `--cfg deep`.
//!
//! The compiler proves that the future of a call can be sent to another thread. If each stack made the types below
//! it part of that proof more than once, the time would double with every stack.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use sevenhops::StandardLayer;
use tower::{Layer, ServiceExt, service_fn};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without sockets needs nothing");
    let stack = StandardLayer::new(Duration::from_secs(10)).expect("ten seconds are a deadline");
    let twice = stack.layer(stack.layer(service_fn(answer)));
    #[cfg(deep)]
    let twice = stack.layer(stack.layer(stack.layer(twice)));
    #[cfg(deep)]
    let twice = stack.layer(stack.layer(stack.layer(twice)));
    let answered = runtime.block_on(async {
        let call = async {
            let response = twice.oneshot(Request::new(Full::default())).await;
            let body = response.expect("a response").into_body();
            body.collect().await.expect("a body").to_bytes()
        };
        tokio::spawn(call).await.expect("calls do not panic")
    });
    assert_eq!(answered, "ok");
}

async fn answer(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("ok")))
}
