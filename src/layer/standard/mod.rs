//! The standard stack: all policies of a call, in the order of [`Policies`](crate::driver::Policies).

mod setters;

#[cfg(feature = "reqwest-middleware")]
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "reqwest-middleware")]
use std::sync::OnceLock;
use std::time::Duration;

use tower_layer::Layer;

use super::{ConfigHandle, DeadlineService};
use crate::config::{Config, Plan};
use crate::config_error::ConfigError;
#[cfg(feature = "reqwest-middleware")]
use crate::driver::Live;
use crate::driver::{Again, Base, Driver};
#[cfg(feature = "otel")]
use crate::metrics::Metrics;
use crate::policy::breaker::CircuitBreakerHandle;
use crate::policy::{concurrency, throttle};
use crate::replay::{FnCloner, TraitCloner};

/// Applies all policies of a call, in their order, to any transport.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::StandardLayer;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = StandardLayer::new(Duration::from_secs(10))?.layer(service_fn(
///     async |_request: http::Request<String>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::from("hello")))
///     },
/// ));
/// let response = service.oneshot(http::Request::new(String::new())).await?;
/// assert_eq!(response.into_body().timeline().attempt_count(), 1);
/// # Ok(()) }
/// ```
///
/// The order is that of [the journey of a call](crate#the-journey-of-a-call). Clones share all state of a destination:
/// budgets, circuits, limits, and stored responses. So do the services of clones.
#[derive(Clone, Debug)]
pub struct StandardLayer<C = TraitCloner> {
    base: Base,
    config: ConfigHandle,
    /// Budgets that are shared later are shown there, too.
    #[cfg(feature = "otel")]
    metrics: Option<Metrics>,
    cloner: C,
    #[cfg(feature = "reqwest-middleware")]
    once: Once,
}

/// The policies of the calls that a layer makes as a middleware. The first call creates them for all calls. A clone
/// creates its own, because it may get other functions.
#[cfg(feature = "reqwest-middleware")]
#[derive(Default)]
struct Once(OnceLock<Arc<Live>>);

/// The service of [`StandardLayer`] over a transport `S`.
pub type StandardService<S, C = TraitCloner> = Driver<S, Again<C>>;

impl StandardLayer {
    /// Creates a stack with defaults that are derived from the deadline.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is shorter than 10 ms or longer than 24 h.
    pub fn new(deadline: Duration) -> Result<Self, ConfigError> {
        Self::from_config(&Config::new(deadline))
    }

    /// Creates a stack with this config.
    ///
    /// # Errors
    ///
    /// Fails if a value is out of range or contradicts another one. The error names the fields and their values.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let plan = Plan::new(config)?;
        plan.check_refresh()?;
        Ok(Self::on(plan, false))
    }

    /// Creates a stack whose user sends the refreshes of stale responses.
    #[cfg(feature = "client")]
    pub(crate) fn refreshing(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self::on(Plan::new(config)?, true))
    }

    fn on(plan: Plan, refreshes: bool) -> Self {
        let config = ConfigHandle::new(plan, refreshes);
        Self {
            base: Base::new(config.breaker(), config.budgets()),
            config,
            #[cfg(feature = "otel")]
            metrics: None,
            cloner: TraitCloner,
            #[cfg(feature = "reqwest-middleware")]
            once: Once::default(),
        }
    }
}

impl<C> StandardLayer<C> {
    /// Sets the functions that clone and empty bodies, for body types that do not implement
    /// [`CloneBody`](crate::policy::retry::CloneBody). An empty body is for the GET after a redirected POST. If `clone`
    /// returns `None`, the body is sent only once. `clone` has to clone the bodies of `empty` too.
    #[must_use]
    pub fn clone_body_with<B>(
        self,
        clone: fn(&B) -> Option<B>,
        empty: fn() -> B,
    ) -> StandardLayer<FnCloner<B>> {
        StandardLayer {
            base: self.base,
            config: self.config,
            #[cfg(feature = "otel")]
            metrics: self.metrics,
            cloner: FnCloner {
                clone,
                empty: Some(empty),
            },
            #[cfg(feature = "reqwest-middleware")]
            once: self.once,
        }
    }

    /// Returns the config, to read it and to replace it while calls run.
    #[must_use]
    pub fn config_handle(&self) -> ConfigHandle {
        self.config.clone()
    }

    /// Returns the circuits, to read and to control them.
    #[must_use]
    pub fn breaker_handle(&self) -> CircuitBreakerHandle {
        self.base.breaker.clone()
    }

    /// Returns the windows of the throttle, to read them.
    #[must_use]
    pub fn throttle_handle(&self) -> throttle::ThrottleHandle {
        self.base.load.throttle.clone()
    }

    /// Returns the concurrency limits, to read them.
    #[must_use]
    pub fn concurrency_handle(&self) -> concurrency::ConcurrencyHandle {
        self.base.load.concurrency.clone()
    }
}

impl<C: Clone> StandardLayer<C> {
    /// Puts the policies over a service that sends requests itself, such as a [`Transport`](crate::Transport).
    ///
    /// This is a cheaper [`layer`](Layer::layer): requests do not carry the call, which saves three allocations for
    /// each call. Layers of this crate below `wire` cannot find the call: each begins its own call, and retries by
    /// itself. If there may be such layers, use [`layer`](Layer::layer).
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use sevenhops::StandardLayer;
    /// use tower::{ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let wire = service_fn(async |_request: http::Request<String>| {
    ///     Ok::<_, std::io::Error>(http::Response::new(String::from("hello")))
    /// });
    /// let service = StandardLayer::new(Duration::from_secs(10))?.over(wire);
    /// assert_eq!(service.oneshot(http::Request::new(String::new())).await?.status(), 200);
    /// # Ok(()) }
    /// ```
    pub fn over<S>(&self, wire: S) -> StandardService<S, C> {
        self.drive(wire, true)
    }

    /// Puts the policies over a service that serves one call. They are created once for all calls.
    #[cfg(feature = "reqwest-middleware")]
    pub(crate) fn over_one_call<S>(&self, inner: S) -> StandardService<S, C> {
        let make = || self.config.service(self.base.clone());
        let policies = Arc::clone(self.once.0.get_or_init(make));
        Driver::live(inner, Again(self.cloner.clone()), policies)
    }

    fn drive<S>(&self, inner: S, is_at_wire: bool) -> StandardService<S, C> {
        let policies = self.config.service(Base {
            is_at_wire,
            ..self.base.clone()
        });
        Driver::live(inner, Again(self.cloner.clone()), policies)
    }

    /// Puts the policies over `inner`, then the user's layers over them, then the deadline around all of it. The driver
    /// of the policies continues the call that the deadline began.
    #[cfg(feature = "client")]
    pub(crate) fn within<S, W>(
        &self,
        (inner, is_at_wire): (S, bool),
        layers: impl FnOnce(StandardService<S, C>) -> W,
    ) -> DeadlineService<W> {
        let policies = self.config.service(Base {
            is_at_wire,
            joins: true,
            ..self.base.clone()
        });
        let below = Driver::live(inner, Again(self.cloner.clone()), Arc::clone(&policies));
        Driver::deadline_of(layers(below), policies)
    }
}

#[cfg(feature = "reqwest-middleware")]
impl Clone for Once {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(feature = "reqwest-middleware")]
impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

impl<S, C: Clone> Layer<S> for StandardLayer<C> {
    type Service = StandardService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        self.drive(inner, false)
    }
}

#[cfg(all(test, feature = "reqwest-middleware"))]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_middleware_share_policies_that_are_made_once() {
        let layer = StandardLayer::new(Duration::from_secs(10)).unwrap();
        let services = [(); 3].map(|()| layer.over_one_call(()));
        let policies = layer.once.0.get().unwrap();
        assert_eq!(Arc::strong_count(policies), 1 + services.len());
        assert!(layer.clone().once.0.get().is_none());
    }
}
