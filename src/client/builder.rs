use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Uri};

use super::layers::{CallStack, UserLayer};
use super::{Client, Shared};
use crate::call::Observer;
use crate::callback::Site;
use crate::config::Config;
use crate::config_error::ConfigError;
use crate::destination::Destination;
use crate::error::Error;
use crate::hop::FailureClass;
use crate::layer::StandardLayer;
#[cfg(feature = "otel")]
use crate::metrics::Metrics;
use crate::policy::breaker::CircuitEvent;
use crate::policy::rate_limit::SharedRateLimit;
use crate::policy::retry::{Budgets, Failure, ResponseHead};
use crate::recorder::FlightRecorder;
#[cfg(feature = "otel")]
use crate::telemetry::otel::Spans;
use crate::telemetry::{Maker, Propagator};
use crate::timeline::{Timeline, also, both};
use crate::timeout::Timeouts;
use crate::transport::TransportBuilder;

/// Configures and builds a [`Client`].
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Client, TimeoutsConfig};
///
/// let refused = Client::builder(Duration::from_secs(10))
///     .config(|config| config.timeouts(TimeoutsConfig::new().attempt(Duration::from_secs(11))))
///     .build()
///     .unwrap_err();
/// assert_eq!(refused.to_string(), "timeouts.attempt: 11s is invalid: expected at most deadline (10s)");
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    config: Config,
    /// Parts of the stack besides its config.
    stack: Vec<Extra>,
    budgets: Option<Budgets>,
    on_complete: Option<Observer>,
    flight_recorder: bool,
    maker: Maker,
    #[cfg(feature = "otel")]
    metrics: Option<Metrics>,
    headers: HeaderMap,
    max_body_bytes: usize,
    /// Its timeouts are set when the client is built.
    transport: TransportBuilder,
    pub(super) attempt_layers: Vec<UserLayer>,
    pub(super) call_layers: Vec<UserLayer>,
}

type Extra = Box<dyn FnOnce(StandardLayer) -> StandardLayer + Send>;

impl ClientBuilder {
    pub(super) fn new(deadline: Duration) -> Self {
        Self::from_config(Config::new(deadline))
    }

    pub(super) fn from_config(config: Config) -> Self {
        Self {
            config,
            stack: Vec::new(),
            budgets: None,
            on_complete: None,
            flight_recorder: true,
            maker: Maker::Tracing,
            #[cfg(feature = "otel")]
            metrics: None,
            headers: HeaderMap::from_iter([(USER_AGENT, AGENT)]),
            max_body_bytes: WHOLE_BODY_BYTES,
            transport: TransportBuilder::new(Timeouts::longest()),
            attempt_layers: Vec::new(),
            call_layers: Vec::new(),
        }
    }

    /// Changes the config: timeouts, retries, breaker and the other policies. See [`Config`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sevenhops::{Client, RetryConfig};
    /// let client = Client::builder(Duration::from_secs(10))
    ///     .config(|config| config.retry(RetryConfig::new().attempts(5)))
    ///     .build()?;
    /// # Ok::<_, sevenhops::ConfigError>(())
    /// ```
    pub fn config(mut self, change: impl FnOnce(Config) -> Config) -> Self {
        self.config = change(self.config);
        self
    }

    /// Changes the transport: resolver, TLS, proxies and connections. See [`TransportBuilder`].
    ///
    /// Its timeouts are always those of the client's config, even if the function returns another builder.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sevenhops::Client;
    /// let client = Client::builder(Duration::from_secs(10))
    ///     .transport(|transport| transport.max_connections_per_destination(32))
    ///     .build()?;
    /// # Ok::<_, sevenhops::ConfigError>(())
    /// ```
    pub fn transport(mut self, change: impl FnOnce(TransportBuilder) -> TransportBuilder) -> Self {
        self.transport = change(self.transport);
        self
    }

    /// Sets a function that classifies failures before the built-in rules do: see
    /// [`RetryLayer::classify`](crate::RetryLayer::classify).
    pub fn classify<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        self.stack
            .push(Box::new(|standard| standard.classify(classify)));
        self
    }

    /// Sets a function that classifies failures and also each 2xx response, before the built-in rules do: see
    /// [`RetryLayer::classify_all`](crate::RetryLayer::classify_all).
    pub fn classify_all<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        self.stack
            .push(Box::new(|standard| standard.classify_all(classify)));
        self
    }

    /// Keeps a circuit, a budget, a throttle and the limits for each destination that `key` returns. Requests for which
    /// it returns `None` have no circuit, and are not limited: see
    /// [`StandardLayer::key_by`](crate::StandardLayer::key_by).
    pub fn key_by<F>(mut self, key: F) -> Self
    where
        F: Fn(&Method, &Uri, &HeaderMap) -> Option<Destination> + Send + Sync + 'static,
    {
        self.stack.push(Box::new(|standard| standard.key_by(key)));
        self
    }

    /// Uses the retry budgets of other clients, and shares them. If this client's config has a budget with other
    /// values, [`build`](Self::build) fails.
    pub fn share_budgets(mut self, budgets: &Budgets) -> Self {
        self.budgets = Some(budgets.clone());
        self
    }

    /// Shares the rate limits of the config with other processes, by a store: see [`SharedRateLimit`].
    pub fn share_rate_limit(mut self, limit: &SharedRateLimit) -> Self {
        let limit = limit.clone();
        self.stack
            .push(Box::new(move |standard| standard.share_rate_limit(&limit)));
        self
    }

    /// Calls this function at each event of a circuit: see
    /// [`CircuitBreakerLayer::on_event`](crate::CircuitBreakerLayer::on_event).
    pub fn on_breaker_event(
        mut self,
        observe: impl Fn(&CircuitEvent) + Send + Sync + 'static,
    ) -> Self {
        let observe = |standard: StandardLayer| standard.on_breaker_event(observe);
        self.stack.push(Box::new(observe));
        self
    }

    /// Sets a function that reads from a response when to retry, before the common headers are read: see
    /// [`RetryLayer::hint`](crate::RetryLayer::hint).
    pub fn hint<F>(mut self, hint: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> Option<Duration> + Send + Sync + 'static,
    {
        self.stack.push(Box::new(|standard| standard.hint(hint)));
        self
    }

    /// Calls this function at the end of every call: see
    /// [`DeadlineLayer::on_complete`](crate::DeadlineLayer::on_complete).
    pub fn on_complete(mut self, observe: impl Fn(&Timeline) + Send + Sync + 'static) -> Self {
        let site = Site::new("ClientBuilder::on_complete");
        self.on_complete = Some(also(self.on_complete, site, observe));
        self
    }

    /// Sets whether the client keeps its last failed and its slowest calls: see [`FlightRecorder`]. It does so by
    /// default, in at most 1 MiB of memory.
    pub fn flight_recorder(mut self, keeps: bool) -> Self {
        self.flight_recorder = keeps;
        self
    }

    /// Sends the trace context in the headers of each attempt: see
    /// [`AttemptLayer::trace_propagator`](crate::AttemptLayer::trace_propagator).
    pub fn trace_propagator(mut self, propagator: impl Propagator) -> Self {
        self.stack
            .push(Box::new(|standard| standard.trace_propagator(propagator)));
        self
    }

    /// Creates the spans of every call directly in OpenTelemetry, and none in `tracing`: see [`Spans`].
    #[cfg(feature = "otel")]
    pub fn spans(mut self, spans: &Spans) -> Self {
        self.maker = Maker::Direct(spans.clone());
        let spans = spans.clone();
        self.stack
            .push(Box::new(move |standard| standard.spans(&spans)));
        self
    }

    /// Records every call in these metrics, together with the circuits, budgets and open connections of this client.
    #[cfg(feature = "otel")]
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.metrics = Some(metrics.clone());
        let metrics = metrics.clone();
        self.on_complete(move |timeline| metrics.record(timeline))
    }

    /// Answers a failed call with the response of this function: see [`FallbackLayer`](crate::FallbackLayer). A later
    /// function replaces an earlier one.
    pub fn fallback<F, W>(mut self, fallback: F) -> Self
    where
        F: Fn(&Error) -> W + Send + Sync + 'static,
        W: Future<Output = Option<http::Response<Bytes>>> + Send + 'static,
    {
        self.stack
            .push(Box::new(|standard| standard.fallback(fallback)));
        self
    }

    /// Sends this header with every request that does not set it.
    ///
    /// By default the client sends `User-Agent: sevenhops/VERSION`, and `Accept-Encoding: gzip,deflate,br` unless the
    /// request has `Range`. A header set here replaces it.
    pub fn default_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sends these headers with every request that does not set them: see [`default_header`](Self::default_header).
    pub fn default_headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Sets the maximum size of a response body that is received whole, both on the wire and decoded. The default is
    /// 8 MiB, and [`build`](Self::build) refuses 0.
    pub fn body_limit(mut self, max_bytes: usize) -> Self {
        self.max_body_bytes = max_bytes;
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// Fails if a value of the config is out of range or contradicts another one. The error names the fields and their
    /// values. Also fails for the reasons of [`TransportBuilder::build`].
    pub fn build(self) -> Result<Client, ConfigError> {
        let mut standard = StandardLayer::refreshing(&self.config)?;
        if self.max_body_bytes == 0 {
            let expected = "1 byte or more";
            return Err(ConfigError::invalid("body_limit", 0, expected));
        }
        let timeouts = Timeouts::from_config(self.config.deadline, self.config.timeouts)?;
        for tell in self.stack {
            standard = tell(standard);
        }
        let recorder = self.flight_recorder.then(FlightRecorder::new);
        let recorded = recorder.as_ref().map(FlightRecorder::observer);
        let observer = both(self.on_complete, recorded);
        standard = standard.observed_by(observer.clone());
        if let Some(budgets) = &self.budgets {
            standard = standard.share_budgets(budgets)?;
        }
        let (breaker, budgets) = (standard.breaker_handle(), standard.budgets());
        let transport = self.transport.timeouts(timeouts).build()?;
        let config = standard.config_handle();
        config.tell_limits(transport.follow_timeouts());
        #[cfg(feature = "otel")]
        if let Some(metrics) = self.metrics {
            standard.watch(&metrics);
            metrics.gauges().connections.watch(transport.look());
        }
        let layers = (self.call_layers, self.attempt_layers);
        let stack = CallStack::new(&standard, transport, layers);
        Ok(Client(Arc::new(Shared {
            stack,
            breaker,
            budgets,
            observer,
            recorder,
            maker: self.maker,
            headers: self.headers,
            max_body_bytes: self.max_body_bytes,
            config,
        })))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("config", &self.config)
            .field("max_body_bytes", &self.max_body_bytes)
            .finish_non_exhaustive()
    }
}

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("sevenhops/", env!("CARGO_PKG_VERSION")));
/// An API's response is rarely larger, and a thousand of them still fit into memory.
const WHOLE_BODY_BYTES: usize = 8 << 20;
