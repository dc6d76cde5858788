use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::callback::Site;
use crate::clock;
use crate::config_error::ConfigError;
use crate::destination::Hosts;
use crate::driver::{Again, Driver, Hedging, Policies};
use crate::hop::FailureClass;
use crate::policy::Classifier;
use crate::policy::hedge::{HedgeConfig, HedgePolicy, HedgeStates};
use crate::policy::retry::{Budget, Budgets, Failure};
use crate::replay::{FnCloner, TraitCloner};

/// Sends a slow call a second time, and takes the first success.
///
/// # Example
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::time::Duration;
/// use sevenhops::{DeadlineLayer, HedgeConfig, HedgeLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// static ASKED: AtomicU32 = AtomicU32::new(0);
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let config = HedgeConfig::new().delay(Duration::from_millis(50));
/// let service = ServiceBuilder::new()
///     .layer(DeadlineLayer::new(Duration::from_secs(10))?)
///     .layer(HedgeLayer::new(config)?)
///     .service(service_fn(async |_request: http::Request<String>| {
///         if ASKED.fetch_add(1, Ordering::Relaxed) == 0 {
///             tokio::time::sleep(Duration::from_secs(5)).await; // the first one hangs
///         }
///         Ok::<_, std::io::Error>(http::Response::new(String::from("hello")))
///     }));
/// let request = http::Request::get("https://api.test/").body(String::new())?;
/// let response = service.oneshot(request).await?;
/// assert_eq!(response.body().timeline().events()[0].kind.to_string(), "hedged after 50.0 ms");
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// The tail: a garbage collection, a slow disk or a full queue at one of several servers. A second server rarely has
/// the same trouble at the same moment.
///
/// # When it hedges
///
/// A hedge is due when the latest attempt had its request for longer than a fixed delay, or than a quantile. The
/// quantile is that of the destination and route. The hedge is sent only if
///
/// - the method is safe (RFC 9110 §9.2.1), the caller declares the request idempotent, or it has a key that the server
///   is known to honor,
/// - its body can be cloned,
/// - there is another address, or [`same_address`](HedgeConfig::same_address) is on (the calls of a session stay on
///   [one address](crate::Options::affinity), so they need it),
/// - neither the attempts, nor the retry budget, nor 5 % of the calls (with a quantile) are spent,
/// - the destination does not throttle, and its circuit is not half-open.
///
/// The first success is the response, and cancels the other attempts. So does a permanent failure of a request that was
/// sent. After other failures the other attempts go on. If all fail, the retry decides, with the greatest effect of all.
///
/// Until a connection has the request, nothing is hedged: the transport itself tries another address meanwhile. All
/// attempts of a call carry the same idempotency key.
///
/// # Defaults
///
/// Those of [`HedgeConfig`]. In a [`StandardLayer`](crate::StandardLayer) and a client it is off until there is a
/// config: [`Config::hedge`](crate::Config::hedge). There each hedge takes one token of the retry budget. A layer
/// alone has the default budget, unless it [shares](Self::share_budgets) that of a [`RetryLayer`](crate::RetryLayer).
///
/// # Reports
///
/// Each hedge in the timeline, with the time after which it was sent, or the reason why it was not. The attempts that
/// lost are shown as cancelled.
///
/// # Trade-offs
///
/// More requests: at most one for twenty calls with a quantile. A service whose slow requests are slow everywhere gains
/// nothing. Each call keeps a copy of the request's head. While several attempts are in flight, a classifier does not
/// see the body of a failure. If the body is received inside the attempt, the first 2xx with a body wins, even if its
/// trailers report a failure.
///
/// # How people get it wrong
///
/// They choose a fixed delay near the median. On the day on which the service becomes slower, every call is sent twice.
///
/// # Cancel safety
///
/// Dropping the future gives up all attempts. Their permits and connections return. The payment of a hedge that was
/// sent does not.
#[derive(Clone)]
pub struct HedgeLayer<C = TraitCloner> {
    policy: HedgePolicy,
    budgets: Budgets,
    classifier: Option<Classifier>,
    cloner: C,
}

impl HedgeLayer {
    /// Creates a layer that hedges by this config.
    ///
    /// # Errors
    ///
    /// Fails if a value is out of range. The error names the field and the value.
    pub fn new(config: HedgeConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            policy: HedgePolicy::new(config, HedgeStates::new()),
            budgets: Budgets::on(Hosts::all(Budget::new()), clock::now()),
            classifier: None,
            cloner: TraitCloner,
        })
    }
}

impl<C> HedgeLayer<C> {
    /// Sets the function that clones bodies, for body types that do not implement
    /// [`CloneBody`](crate::policy::retry::CloneBody).
    #[must_use]
    pub fn clone_body_with<B>(self, clone: fn(&B) -> Option<B>) -> HedgeLayer<FnCloner<B>> {
        HedgeLayer {
            policy: self.policy,
            budgets: self.budgets,
            classifier: self.classifier,
            cloner: FnCloner { clone, empty: None },
        }
    }

    /// Decides by its response whether an attempt failed, and whether the destination asks for fewer requests. `None`
    /// leaves the decision to the status. If `classify` panics, its result counts as `None`.
    #[must_use]
    pub fn classify(
        mut self,
        classify: impl Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    ) -> Self {
        let site = Site::new("HedgeLayer::classify");
        self.classifier = Some(Classifier::of_failures(site, classify));
        self
    }

    /// Pays for hedges from the budgets of a [`RetryLayer`](crate::RetryLayer), or of other clients.
    #[must_use]
    pub fn share_budgets(mut self, budgets: &Budgets) -> Self {
        self.budgets = budgets.clone();
        self
    }

    /// Returns the budgets, to read and to share them: see [`Budgets`].
    #[must_use]
    pub fn budgets(&self) -> Budgets {
        self.budgets.clone()
    }
}

impl<S, C: Clone> Layer<S> for HedgeLayer<C> {
    type Service = HedgeService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let hedging = || Hedging {
            policy: Arc::new(self.policy.clone()),
            budgets: self.budgets.clone(),
        };
        let policies = Policies {
            hedge: self.policy.config.get_enabled().then(hedging),
            classifier: self.classifier.clone(),
            ..Policies::default()
        };
        Driver::new(inner, Again(self.cloner.clone()), policies)
    }
}

/// The service of [`HedgeLayer`].
pub type HedgeService<S, C = TraitCloner> = Driver<S, Again<C>>;

impl<C> fmt::Debug for HedgeLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeLayer")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
