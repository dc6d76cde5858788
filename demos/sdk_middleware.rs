//! A client of an SDK with middleware, with the stack at the end of its chain. It charges once although the first
//! response is lost. The facts of an error are found again in the SDK's error.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin sdk_middleware
//! ```

use std::error::Error as StdError;
use std::time::Duration;

use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use sevenhops::{
    Client, Effect, Hop, IdempotencyKey, Options, Response, Timeouts, Transport,
    dns::StaticResolver,
    sdk,
    testing::{FaultServer, Reply},
};

/// Stands for an SDK: it takes a `ClientWithMiddleware`.
async fn charge(
    client: &ClientWithMiddleware,
    url: &str,
    options: Options,
) -> Result<reqwest::Response, reqwest_middleware::Error> {
    let request = client.post(url).body("amount=100");
    request.with_extension(options).send().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let server = FaultServer::builder().start().await?;
    let url = format!("http://pay.test:{}/v1/charges", server.addr().port());
    let dns = StaticResolver::new().host("pay.test", [server.addr().ip()]);

    let deadline = Duration::from_secs(5);
    let stack = Client::builder(deadline)
        .transport(|transport| transport.resolver(dns.clone()))
        .build()?;
    let below = Transport::builder(Timeouts::new(deadline)?).resolver(dns);
    let client = ClientBuilder::new(below.build_reqwest()?)
        .with(stack)
        .build();

    // The response is lost, and the server is not known to honor keys. The charge may have been made, so it is not
    // retried.
    server.on_request([Reply::CloseAfterRequest]);
    let lost = charge(&client, &url, Options::new()).await;
    let error = lost.err().ok_or("the response was lost")?;
    let found = sdk::classify_error(&error);
    println!("{found}\n");
    assert_eq!(
        (found.hop(), found.effect()),
        (Some(Hop::Server), Effect::Possible)
    );
    assert_eq!(server.requests_seen(), 1);

    // With the caller's own key the request is sent again, and the server recognizes it.
    server.on_request([Reply::CloseAfterRequest]);
    let key = IdempotencyKey::new("order-4711")?;
    let answered = charge(&client, &url, Options::new().idempotency_key(key)).await?;
    let timeline = Response::from(answered).timeline().cloned();
    println!("{}", timeline.ok_or("the response carries its timeline")?);
    let requests = server.requests();
    let keys: Vec<_> = requests
        .iter()
        .map(|seen| seen.headers.get("idempotency-key"))
        .collect();
    assert!(keys.len() == 3 && keys[1] == keys[2], "one key, twice");
    Ok(())
}
