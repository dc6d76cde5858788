use std::error::Error as StdError;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;
use sevenhops::client::{ClientBuilder, InnerService};
use sevenhops::policy::retry::CloneBody;
use sevenhops::transport::Incoming;
use sevenhops::{Body, Client, ConfigError};
use tokio::sync::Mutex;
use tower::layer::layer_fn;
use tower::{Service, ServiceExt, service_fn};

type BoxError = Box<dyn StdError + Send + Sync>;

/// The tokens of one API. A token is fetched when it is needed, once for all calls that wait for it.
pub(crate) struct Tokens {
    /// A client of its own: the fetch has its own deadline, retries and circuit.
    pub(crate) client: Client,
    pub(crate) url: String,
    /// The only host that gets the token: a redirect may lead to another one.
    pub(crate) host: &'static str,
    pub(crate) current: Mutex<Option<HeaderValue>>,
}

#[derive(Deserialize)]
struct Grant {
    access_token: String,
}

impl Tokens {
    /// Returns a token other than `refused`.
    async fn other_than(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, BoxError> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref().filter(|token| Some(*token) != refused) {
            return Ok(token.clone());
        }
        let form = [("grant_type", "client_credentials")];
        let fetch = self.client.post(&self.url).form(&form);
        // A second token does no harm, so a lost response may be retried.
        let grant: Grant = fetch
            .options(|options| options.idempotent(true))
            .fetch_json()
            .await?;
        let mut token = HeaderValue::try_from(format!("Bearer {}", grant.access_token))?;
        token.set_sensitive(true);
        Ok(current.insert(token).clone())
    }
}

/// Sends an attempt with a token. After a 401 it fetches a new token, and sends the request once more.
pub(crate) async fn authorized(
    mut inner: InnerService,
    tokens: Arc<Tokens>,
    request: Request<Body>,
) -> Result<Response<Incoming>, BoxError> {
    if request.uri().host() != Some(tokens.host) {
        return Ok(inner.ready().await?.call(request).await?);
    }
    let (mut head, body) = request.into_parts();
    let token = tokens.other_than(None).await?;
    // A stream has no copy: it is sent once.
    let again = body.clone_body().map(|body| (head.clone(), body));
    head.headers.insert(AUTHORIZATION, token.clone());
    let response = inner
        .ready()
        .await?
        .call(Request::from_parts(head, body))
        .await?;
    match again {
        // The server says that it did nothing, so a POST may be sent again, too.
        Some((mut head, body)) if response.status() == StatusCode::UNAUTHORIZED => {
            let token = tokens.other_than(Some(&token)).await?;
            head.headers.insert(AUTHORIZATION, token);
            Ok(inner
                .ready()
                .await?
                .call(Request::from_parts(head, body))
                .await?)
        }
        _ => Ok(response),
    }
}

/// Returns a client that sends a token with each attempt.
pub(crate) fn client_with(tokens: Tokens, client: ClientBuilder) -> Result<Client, ConfigError> {
    let tokens = Arc::new(tokens);
    let layer = layer_fn(move |inner: InnerService| {
        let tokens = Arc::clone(&tokens);
        service_fn(move |request| authorized(inner.clone(), Arc::clone(&tokens), request))
    });
    client.attempt_layer(layer).build()
}
