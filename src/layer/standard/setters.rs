//! The parts of the stack that no config file has: functions, telemetry, and shared budgets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri};

use super::StandardLayer;
#[cfg(feature = "client")]
use crate::call::Observer;
use crate::callback::{Site, ask, observe};
use crate::config_error::ConfigError;
use crate::destination::Destination;
#[cfg(feature = "otel")]
use crate::driver::Base;
use crate::error::Error;
use crate::hop::FailureClass;
#[cfg(feature = "otel")]
use crate::metrics::Metrics;
use crate::policy::breaker::CircuitEvent;
use crate::policy::rate_limit::SharedRateLimit;
use crate::policy::retry::{Budgets, Failure};
use crate::policy::{Classifier, destination_key, fallback};
use crate::retry_after::{Hints, ResponseHead};
#[cfg(feature = "otel")]
use crate::telemetry::Maker;
#[cfg(feature = "otel")]
use crate::telemetry::otel::Spans;
use crate::telemetry::{ContainedPropagator, Propagator};
use crate::timeline::{Timeline, also};

impl<C> StandardLayer<C> {
    /// Calls this function at the end of every call: see
    /// [`DeadlineLayer::on_complete`](crate::DeadlineLayer::on_complete).
    #[must_use]
    pub fn on_complete(mut self, observe: impl Fn(&Timeline) + Send + Sync + 'static) -> Self {
        let site = Site::new("StandardLayer::on_complete");
        self.base.observer = Some(also(self.base.observer, site, observe));
        self
    }

    /// Calls this observer at the end of every call, in place of earlier ones.
    #[cfg(feature = "client")]
    pub(crate) fn observed_by(mut self, observer: Option<Observer>) -> Self {
        self.base.observer = observer;
        self
    }

    /// Answers a failed call with the response of this function: see [`FallbackLayer`](crate::FallbackLayer). A later
    /// function replaces an earlier one.
    #[must_use]
    pub fn fallback<F, W>(mut self, fallback: F) -> Self
    where
        F: Fn(&Error) -> W + Send + Sync + 'static,
        W: Future<Output = Option<Response<Bytes>>> + Send + 'static,
    {
        let name = "StandardLayer::fallback";
        self.base.fallback = Some(fallback::Policy::new(name, fallback));
        self
    }

    /// Sends the trace context in the headers of each attempt: see
    /// [`AttemptLayer::trace_propagator`](crate::AttemptLayer::trace_propagator).
    #[must_use]
    pub fn trace_propagator(mut self, propagator: impl Propagator) -> Self {
        self.base.propagator = Some(Arc::new(ContainedPropagator::new(propagator)));
        self
    }

    /// Creates the spans of every call with the OpenTelemetry API, and none with `tracing`: see [`Spans`].
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn spans(mut self, spans: &Spans) -> Self {
        self.base.maker = Maker::Direct(spans.clone());
        self
    }

    /// Records every call in these metrics, together with the circuits, budgets and limits of this stack.
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.watch(metrics);
        self.metrics = Some(metrics.clone());
        let metrics = metrics.clone();
        self.on_complete(move |timeline| metrics.record(timeline))
    }

    #[cfg(feature = "otel")]
    pub(crate) fn watch(&self, metrics: &Metrics) {
        let gauges = metrics.gauges();
        let Base {
            breaker,
            budgets,
            load,
            ..
        } = &self.base;
        breaker.report_to(metrics);
        gauges.budgets.watch(budgets.look());
        gauges.limits.watch(load.concurrency.look());
        gauges.throttles.watch(load.throttle.look());
    }

    /// Sets a function that classifies failures before the built-in rules do, for all policies: see
    /// [`RetryLayer::classify`](crate::RetryLayer::classify).
    #[must_use]
    pub fn classify<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        let site = Site::new("StandardLayer::classify");
        self.base.classifier = Some(Classifier::of_failures(site, classify));
        self
    }

    /// Sets a function like [`classify`](Self::classify) that also classifies each 2xx response: see
    /// [`RetryLayer::classify_all`](crate::RetryLayer::classify_all).
    #[must_use]
    pub fn classify_all<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        let site = Site::new("StandardLayer::classify_all");
        self.base.classifier = Some(Classifier::of_all(site, classify));
        self
    }

    /// Keeps a circuit, a budget, a throttle and the limits for each destination that `key` returns: a tenant, a shard,
    /// a route. Requests for which it returns `None` have no circuit and no limits: no throttle, no concurrency limit,
    /// no rate limit. They use the budget of their URL's destination. If `key` panics, the call fails at encode.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sevenhops::{Destination, StandardLayer};
    ///
    /// let by_tenant = StandardLayer::new(Duration::from_secs(10))?.key_by(|_method, uri, headers| {
    ///     let tenant = headers.get("x-tenant")?.to_str().ok()?;
    ///     Some(Destination::named(format!("{}#{tenant}", Destination::of(uri)?)))
    /// });
    /// # drop(by_tenant); Ok::<(), sevenhops::ConfigError>(())
    /// ```
    #[must_use]
    pub fn key_by<F>(mut self, key: F) -> Self
    where
        F: Fn(&Method, &Uri, &HeaderMap) -> Option<Destination> + Send + Sync + 'static,
    {
        let site = Site::new("StandardLayer::key_by");
        self.base.key = Some(destination_key(site, key));
        self
    }

    /// Returns the retry budgets, to read and to share them: see [`Budgets`].
    #[must_use]
    pub fn budgets(&self) -> Budgets {
        self.base.budgets.clone()
    }

    /// Uses the budgets of other clients, and shares them.
    ///
    /// # Errors
    ///
    /// Fails if the config has its own budget with other values.
    pub fn share_budgets(mut self, budgets: &Budgets) -> Result<Self, ConfigError> {
        self.config.share(budgets)?;
        self.base.budgets = budgets.clone();
        #[cfg(feature = "otel")]
        if let Some(metrics) = &self.metrics {
            metrics.gauges().budgets.watch(budgets.look());
        }
        Ok(self)
    }

    /// Shares the rate limits of the config with other processes, by a store: see [`SharedRateLimit`]. A config without
    /// a rate limit does not ask the store.
    #[must_use]
    pub fn share_rate_limit(mut self, limit: &SharedRateLimit) -> Self {
        self.base.load.shared = Some(limit.clone());
        self
    }

    /// Calls this function at each event of a circuit: see
    /// [`CircuitBreakerLayer::on_event`](crate::CircuitBreakerLayer::on_event).
    #[must_use]
    pub fn on_breaker_event(self, observe: impl Fn(&CircuitEvent) + Send + Sync + 'static) -> Self {
        let site = Site::new("StandardLayer::on_breaker_event");
        let tell = move |event: &CircuitEvent| self::observe(&site, || observe(event));
        self.base.breaker.observe(Arc::new(tell));
        self
    }

    /// Sets a function that reads from a response when to retry, before the common headers are read: see
    /// [`RetryLayer::hint`](crate::RetryLayer::hint).
    #[must_use]
    pub fn hint<F>(mut self, hint: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> Option<Duration> + Send + Sync + 'static,
    {
        let site = Site::new("StandardLayer::hint");
        self.base.hints = Hints::by(move |head| ask(&site, || hint(head)));
        self
    }
}
