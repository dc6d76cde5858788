//! octocrab with the whole stack as its service. A lost response does not make a second issue. A throttled listing
//! waits as long as the server asks. The error names the hop.
//!
//! ```text
//! cargo run -p sevenhops-sdks --example octocrab
//! ```

use std::error::Error as StdError;
use std::time::Duration;

use http::StatusCode;
use http_body::Body;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use serde_json::{Value, json};
use sevenhops::{
    Effect, Hop, StandardLayer, Timeouts, Transport,
    dns::StaticResolver,
    sdk,
    testing::{CannedResponse, FaultServer, Reply},
};

use tower::Layer;

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

/// A body in memory, or none, can be sent again.
fn copy(body: &OctoBody) -> Option<OctoBody> {
    let empty = body.is_end_stream().then(OctoBody::empty);
    empty.or_else(|| body.try_clone())
}

fn octocrab(server: &FaultServer) -> Result<Octocrab> {
    let deadline = Duration::from_secs(5);
    let dns = StaticResolver::new().host("api.test", [server.addr().ip()]);
    let transport = Transport::builder(Timeouts::new(deadline)?)
        .resolver(dns)
        .build()?;
    let policies = StandardLayer::new(deadline)?.clone_body_with(copy, OctoBody::empty);
    let base = format!("http://api.test:{}", server.addr().port());
    Ok(OctocrabBuilder::new_empty()
        .with_service(policies.layer(transport))
        .with_layer(&BaseUriLayer::new(base.parse()?))
        .with_auth(AuthState::None)
        .build()?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let server = FaultServer::builder().start().await?;
    let octocrab = octocrab(&server)?;

    server.on_request([Reply::CloseAfterRequest]);
    let issue = json!({"title": "it hangs"});
    let made: octocrab::Result<Value> = octocrab.post("/issues", Some(&issue)).await;
    let error = made.err().ok_or("the response was lost")?;
    let found = sdk::classify_error(&error);
    println!("{found}");
    println!(
        "{}",
        found.timeline().ok_or("the error carries its timeline")?
    );
    assert_eq!(
        (found.hop(), found.effect()),
        (Some(Hop::Server), Effect::Possible)
    );
    assert_eq!(server.requests_seen(), 1, "not made twice");

    let throttled = CannedResponse::new(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "1");
    server.on_request([throttled.into()]);
    let begun = tokio::time::Instant::now();
    let listed: Value = octocrab.get("/issues", None::<&()>).await?;
    assert_eq!(listed, json!({"ok": true}));
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "not before it was told"
    );
    println!("listed after {:.1?}, as the server asked", begun.elapsed());
    Ok(())
}
