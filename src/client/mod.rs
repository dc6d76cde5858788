//! The client: a deadline for every call, and requests built as with reqwest.

mod address;
mod body;
mod builder;
#[cfg(feature = "reqwest")]
mod conversions;
mod decode;
mod decoded;
mod download;
mod events;
mod execute;
mod fetch;
mod gzip;
mod layers;
pub mod multipart;
mod precompiled;
mod request;
mod response;
mod session;
mod version;

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method};

#[cfg(feature = "gateway")]
pub(crate) use self::address::Address;
pub use self::address::IntoUrl;
pub use self::body::ResponseBody;
pub use self::builder::ClientBuilder;
#[cfg(feature = "reqwest-middleware")]
pub(crate) use self::conversions::shared;
pub use self::download::Download;
pub use self::events::{EventStream, ServerSentEvent};
#[cfg(feature = "gateway")]
pub(crate) use self::execute::StackBody;
pub use self::layers::{InnerFuture, InnerService};
pub use self::request::RequestBuilder;
pub use self::response::Response;

use self::layers::CallStack;
pub use crate::body::Body;
use crate::call::Observer;
use crate::config::Config;
use crate::layer::ConfigHandle;
use crate::policy::breaker::CircuitBreakerHandle;
use crate::policy::retry::Budgets;
use crate::recorder::FlightRecorder;
use crate::telemetry::Maker;

/// An HTTP client in which every wait ends and every failure names its hop.
///
/// Cheap to clone; clones share connections and the DNS cache.
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
/// # #[derive(serde::Deserialize)] struct Charge { id: String }
///
/// # async fn f(key: &str, params: &[(&str, &str)]) -> Result<(), Box<dyn std::error::Error>> {
/// let client = sevenhops::Client::builder(Duration::from_secs(10)).build()?;
/// let charge: Charge = client
///     .post("https://api.stripe.com/v1/charges")
///     .bearer_auth(key)
///     .form(&params)
///     .send().await?
///     .error_for_status()?
///     .json().await?;
/// # drop(charge.id); Ok(()) }
/// ```
///
/// A client without a deadline does not compile:
///
/// ```compile_fail
/// let client = sevenhops::Client::builder().build();
/// ```
///
/// # Cancel safety
///
/// If a future of the client is dropped, its call is given up. A connection *takes* a request when its first byte may
/// have left. A call that is dropped before that sends nothing. After that, the request may still have its effect.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

/// The state that a client and its clones share.
struct Shared {
    stack: CallStack,
    breaker: CircuitBreakerHandle,
    budgets: Budgets,
    /// Called at the end of every call.
    observer: Option<Observer>,
    recorder: Option<FlightRecorder>,
    maker: Maker,
    headers: HeaderMap,
    max_body_bytes: usize,
    config: ConfigHandle,
}

impl Client {
    /// Creates a builder for a client whose calls end within `deadline`, to the last byte of the body. The deadline is
    /// 10 ms to 24 h; `build` refuses another one.
    pub fn builder(deadline: std::time::Duration) -> ClientBuilder {
        ClientBuilder::new(deadline)
    }

    /// Creates a builder from a config, for example from one that was read from a file.
    pub fn builder_from_config(config: Config) -> ClientBuilder {
        ClientBuilder::from_config(config)
    }

    /// Begins a GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Begins a POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Begins a PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// Begins a PATCH request.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// Begins a DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Begins a HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// Begins a request. Text that is not a URL is reported as an encode failure when the request is sent.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, url.into_address())
    }

    /// Returns the config of this client and its clones. It can be read, and replaced while calls run.
    #[must_use]
    pub fn config_handle(&self) -> ConfigHandle {
        self.0.config.clone()
    }

    /// Returns the circuits of this client and its clones, to read them and to open or close them by hand.
    #[must_use]
    pub fn breaker_handle(&self) -> &CircuitBreakerHandle {
        &self.0.breaker
    }

    /// Returns the retry budgets of this client and its clones, to read and to share them.
    #[must_use]
    pub fn budgets(&self) -> &Budgets {
        &self.0.budgets
    }

    /// Returns the last failed and the slowest calls of each destination, of this client and its clones. `None` if the
    /// builder turned the recorder off.
    #[must_use]
    pub fn flight_recorder(&self) -> Option<&FlightRecorder> {
        self.0.recorder.as_ref()
    }
}

impl fmt::Debug for Client {
    /// Leaves the headers out: they may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
