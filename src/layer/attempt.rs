use std::sync::Arc;

use tower_layer::Layer;

use crate::driver::{Attempts, Driver, Now, Policies};
use crate::telemetry::{ContainedPropagator, Propagator};
use crate::timeout::Timeouts;

/// Applies the limits of an attempt to a service, and names the hop at which the attempt fails.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{AttemptLayer, Timeouts};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(AttemptLayer::new(Timeouts::new(Duration::from_secs(10))?))
///     .service(service_fn(async |_request: http::Request<String>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::from("hello")))
///     }));
/// let response = service.oneshot(http::Request::new(String::new())).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// - A hop that stalls: each hop has its own limit, so the error names the hop.
/// - A request that was given up and would still reach the server: its body refuses to be sent.
///
/// # Defaults
///
/// The defaults are those of [`Timeouts`]. Over [`Transport`](crate::Transport) every limit holds. Over another service
/// only the attempt timeout and the body idle timeout hold, and the rest is one wait.
///
/// # Cancel safety
///
/// Dropping the future gives the attempt up. A request that no connection took is never sent. The timeline records the
/// attempt as "cancelled", not "failed".
#[derive(Clone, Debug)]
pub struct AttemptLayer {
    timeouts: Timeouts,
    propagate_deadline: bool,
    propagator: Option<Arc<dyn Propagator>>,
}

impl AttemptLayer {
    /// Creates a layer with these limits.
    #[must_use]
    pub const fn new(timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            propagate_deadline: false,
            propagator: None,
        }
    }

    /// Sets whether each attempt passes its number and the time left to the next process, in the headers
    /// `Sevenhops-Attempt` and `Sevenhops-Timeout-Ms`: off by default. That process reads them with
    /// [`Options::inherit`](crate::Options::inherit).
    #[must_use]
    pub const fn propagate_deadline(mut self, yes: bool) -> Self {
        self.propagate_deadline = yes;
        self
    }

    /// Writes the trace into the headers of each attempt; by default no trace is written. W3C `baggage` is sent only to
    /// the call's own origin.
    #[must_use]
    pub fn trace_propagator(mut self, propagator: impl Propagator) -> Self {
        self.propagator = Some(Arc::new(ContainedPropagator::new(propagator)));
        self
    }

    pub(crate) fn policy(&self) -> Attempts {
        Attempts::new(
            self.timeouts,
            self.propagate_deadline,
            self.propagator.clone(),
        )
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = AttemptService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            attempt: Some(self.policy()),
            ..Policies::default()
        };
        Driver::new(inner, Now, policies)
    }
}

/// The service of [`AttemptLayer`].
pub type AttemptService<S> = Driver<S, Now>;
