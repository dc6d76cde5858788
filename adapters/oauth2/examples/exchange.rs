//! The exchange of a code whose response is lost: it is sent once.
//!
//! ```text
//! cargo run -p sevenhops-oauth2 --example exchange
//! ```

use std::error::Error;
use std::time::Duration;

use oauth2::basic::BasicClient;
use oauth2::{AuthorizationCode, ClientId, RequestTokenError, TokenUrl};
use sevenhops::testing::{FaultServer, Reply};
use sevenhops_oauth2::OauthHttpClient;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = FaultServer::start().await?; // in place of the issuer
    server.on_request([Reply::CloseAfterRequest]);
    let issuer = TokenUrl::new(server.url("/token"))?;
    let client = BasicClient::new(ClientId::new("app".to_owned())).set_token_uri(issuer);
    let http = OauthHttpClient::new(Duration::from_secs(10))?;
    let code = AuthorizationCode::new("code".to_owned());
    match client.exchange_code(code).request_async(&http).await {
        Err(RequestTokenError::Request(error)) => println!("{error}"),
        other => return Err(format!("a failed request is expected: {other:?}").into()),
    }
    assert_eq!(server.requests_seen(), 1);
    Ok(())
}
