//! async-openai with a bare client of ours, because it takes nothing else. Its failures still say whether the request
//! may have been sent.
//!
//! ```text
//! cargo run -p sevenhops-sdks --example openai
//! ```

use std::error::Error as StdError;
use std::time::Duration;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::embeddings::CreateEmbeddingRequestArgs;
use sevenhops::{
    Effect, Hop, Kind, Timeouts, Transport,
    dns::StaticResolver,
    sdk,
    testing::{ConnFault, FaultServer, Reply, TestCa},
};

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

async fn embed(openai: &Client<OpenAIConfig>) -> std::result::Result<(), OpenAIError> {
    let mut request = CreateEmbeddingRequestArgs::default();
    let request = request.model("a-model").input("text").build()?;
    openai.embeddings().create(request).await.map(drop)
}

#[tokio::main]
async fn main() -> Result<()> {
    let authority = TestCa::new()?;
    let identity = authority.issue(&["api.test"])?;
    let server = FaultServer::builder().tls(identity).start().await?;
    let timeouts = Timeouts::new(Duration::from_secs(2))?;
    let client = Transport::builder(timeouts)
        .tls(authority.client_config())
        .resolver(StaticResolver::new().host("api.test", [server.addr().ip()]))
        .build_reqwest()?;
    let base = format!("https://api.test:{}", server.addr().port());
    let config = OpenAIConfig::new().with_api_base(base).with_api_key("key");
    let openai = Client::build(client, config);

    // The wrong certificate, as often as the SDK tries: nothing was sent.
    let expired = authority.issue_expired(&["api.test"])?;
    server.on_connection(vec![ConnFault::WrongCertificate(expired); 10]);
    let refused = embed(&openai)
        .await
        .err()
        .ok_or("the certificate has run out")?;
    let found = sdk::classify_error(&refused);
    println!("{found}");
    let told = (found.hop(), found.kind(), found.effect());
    assert_eq!(
        told,
        (Some(Hop::Tls), Kind::CertificateExpired, Effect::None)
    );
    assert_eq!(server.requests_seen(), 0);
    server.on_connection(vec![ConnFault::Behave; 10]);

    // A service that never responds: the deadline ends the call, and its effect is unknown.
    let server = FaultServer::builder().start().await?;
    server.default_reply(Reply::Silent);
    let client = Transport::builder(timeouts)
        .resolver(StaticResolver::new())
        .build_reqwest()?;
    let config = OpenAIConfig::new()
        .with_api_base(server.url(""))
        .with_api_key("key");
    let begun = tokio::time::Instant::now();
    let silent = embed(&Client::build(client, config)).await;
    let error = silent.err().ok_or("it never answers")?;
    let found = sdk::classify_error(&error);
    println!("{found}, after {:.1?}", begun.elapsed());
    assert_eq!(
        (found.kind(), found.effect()),
        (Kind::Timeout, Effect::Possible)
    );
    assert!(begun.elapsed() < Duration::from_secs(4), "it ends");
    Ok(())
}
