#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

mod error;

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sevenhops::{ClientBuilder, IdempotencyKey, Options, presets};
use stripe_client_core::{
    ConfigOverride, CustomizedStripeRequest, RequestStrategy, SharedConfigBuilder, StripeClient,
    StripeMethod,
};

pub use self::error::StripeError;

/// A [`StripeClient`] over the whole stack of sevenhops. Cheap to clone.
///
/// # Cancel safety
///
/// If the future of a request is dropped, the call is given up.
#[derive(Clone, Debug)]
pub struct Client {
    client: sevenhops::Client,
    base: String,
    headers: HeaderMap,
    strategy: Option<RequestStrategy>,
    timeout: Option<Duration>,
}

impl Client {
    /// Creates a client whose calls end within `deadline`.
    ///
    /// # Errors
    ///
    /// Fails if a value cannot be a header, or for the reasons of [`ClientBuilder::build`].
    pub fn new(config: SharedConfigBuilder, deadline: Duration) -> Result<Self, StripeError> {
        Self::build(config, sevenhops::Config::new(deadline), |builder| builder)
    }

    /// Creates a client with policies of yours, and with what `change` adds to its builder: metrics, layers, another
    /// resolver.
    ///
    /// The builder has Stripe's own rules of what to retry. A classifier that `change` sets replaces them, as each
    /// later classifier does. It can ask them itself:
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use http::StatusCode;
    /// use sevenhops::hop::FailureClass;
    /// use sevenhops::policy::retry::Failure;
    /// use sevenhops::presets;
    /// use sevenhops_stripe::Client;
    /// use stripe_client_core::SharedConfigBuilder;
    ///
    /// fn classify(failure: &Failure<'_>) -> Option<FailureClass> {
    ///     match failure.status() {
    ///         // Our proxy in front of Stripe restarts.
    ///         Some(StatusCode::IM_A_TEAPOT) => Some(FailureClass::Transient),
    ///         _ => presets::stripe::classify(failure),
    ///     }
    /// }
    ///
    /// # fn f() -> Result<(), sevenhops_stripe::StripeError> {
    /// let policies = sevenhops::Config::new(Duration::from_secs(10));
    /// let secret = SharedConfigBuilder::new("sk_live_...");
    /// let client = Client::build(secret, policies, |builder| builder.classify(classify))?;
    /// # drop(client); Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`new`](Self::new) does.
    pub fn build(
        config: SharedConfigBuilder,
        policies: sevenhops::Config,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, StripeError> {
        let builder = sevenhops::Client::builder_from_config(policies);
        let client = change(builder.classify(presets::stripe::classify)).build();
        let client = client.map_err(|error| invalid(error.to_string()))?;
        let mut headers = HeaderMap::new();
        let mut secret = value("secret", &format!("Bearer {}", config.secret))?;
        secret.set_sensitive(true);
        headers.insert(AUTHORIZATION, secret);
        let agent = [Some(AGENT), config.app_info_str.as_deref()];
        let agent = agent.into_iter().flatten().collect::<Vec<_>>().join(" ");
        headers.insert(USER_AGENT, value("app_info", &agent)?);
        let version = value("stripe_version", config.stripe_version.as_str())?;
        headers.insert(STRIPE_VERSION, version);
        if let Some(id) = &config.client_id {
            headers.insert(CLIENT_ID, value("client_id", id.as_str())?);
        }
        if let Some(id) = &config.account_id {
            headers.insert(STRIPE_ACCOUNT, value("account_id", id.as_str())?);
        }
        let base = config.api_base.as_deref().unwrap_or(DEFAULT_BASE);
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
            headers,
            strategy: config.request_strategy,
            timeout: config.timeout,
        })
    }

    /// Returns the options of a request: its key, its attempts, its deadline.
    fn options(&self, config: &ConfigOverride) -> Result<Options, StripeError> {
        let options = Options::new()
            .honors_idempotency_keys(true)
            // Stripe does not redirect. The response of another URL would say nothing about the charge.
            .follow_redirects(false)
            .whole_body(MOST_BODY_BYTES);
        let strategy = config.request_strategy.as_ref();
        let options = match strategy.or(self.strategy.as_ref()) {
            None => options,
            Some(RequestStrategy::Once) => options.retry(false),
            Some(RequestStrategy::Idempotent(key)) => {
                let key = IdempotencyKey::new(key.as_str());
                options.idempotency_key(key.map_err(|error| invalid(error.to_string()))?)
            }
            Some(RequestStrategy::Retry(most) | RequestStrategy::ExponentialBackoff(most)) => {
                options.attempts(*most)
            }
        };
        let timeout = config.timeout.or(self.timeout);
        Ok(match timeout {
            Some(timeout) => options.deadline(timeout),
            None => options,
        })
    }
}

impl StripeClient for Client {
    type Err = StripeError;

    async fn execute(&self, request: CustomizedStripeRequest) -> Result<Bytes, StripeError> {
        let (request, config) = request.into_pieces();
        let method = match request.method {
            StripeMethod::Get => Method::GET,
            StripeMethod::Post => Method::POST,
            StripeMethod::Delete => Method::DELETE,
        };
        let mut url = format!("{}/v1{}", self.base, request.path);
        if let Some(query) = &request.query {
            url.extend(["?", query]);
        }
        let mut headers = self.headers.clone();
        if let Some(account) = &config.account_id {
            headers.insert(STRIPE_ACCOUNT, value("account_id", account.as_str())?);
        }
        let options = self.options(&config)?;
        let mut call = self.client.request(method, url).options(|_| options);
        if let Some(form) = request.body {
            headers.insert(CONTENT_TYPE, FORM);
            call = call.body(form);
        }
        // Every status other than 2xx is an error.
        let fetched = call.headers(headers).fetch_bytes().await;
        fetched.map_err(|error| match error.status() {
            Some(_) => StripeError::responded(error),
            None => StripeError::Call(error),
        })
    }
}

fn value(field: &str, text: &str) -> Result<HeaderValue, StripeError> {
    // The value may be secret, so the error does not contain it.
    let refused = |_| invalid(format!("{field}: expected visible ASCII characters"));
    HeaderValue::from_str(text).map_err(refused)
}

fn invalid(reason: impl Into<String>) -> StripeError {
    StripeError::Config(reason.into())
}

const AGENT: &str = concat!("sevenhops-stripe/", env!("CARGO_PKG_VERSION"));
const DEFAULT_BASE: &str = "https://api.stripe.com";
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");
const STRIPE_ACCOUNT: HeaderName = HeaderName::from_static("stripe-account");
const CLIENT_ID: HeaderName = HeaderName::from_static("client-id");
/// A list of 100 objects with everything expanded is smaller.
const MOST_BODY_BYTES: usize = 8 << 20;
