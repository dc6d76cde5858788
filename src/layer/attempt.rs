use std::sync::Arc;

use tower_layer::Layer;

use crate::driver::{Attempts, Driver, Now, Policies};
use crate::telemetry::{ContainedPropagator, Propagator};
use crate::timeout::Timeouts;

/// Applies the timeouts of an attempt to a service, and names the hop at which the attempt fails.
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
/// - A hop that stalls: each hop has its own timeout, so the error names the hop.
/// - A request that was given up and could still reach the server: its body is not sent.
///
/// # Defaults
///
/// The defaults are those of [`Timeouts`]. Over [`Transport`](crate::Transport) every timeout applies. Over another
/// service only the attempt timeout and the body idle timeout apply. There the layer sees all stages before the
/// response head as one wait.
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
    /// Creates a layer with these timeouts.
    #[must_use]
    pub const fn new(timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            propagate_deadline: false,
            propagator: None,
        }
    }

    /// Sets whether each attempt sends its number and the time left to the server, in the headers `Sevenhops-Attempt`
    /// and `Sevenhops-Timeout-Ms`. It is off by default. The server can read them with
    /// [`Options::inherit`](crate::Options::inherit).
    #[must_use]
    pub const fn propagate_deadline(mut self, yes: bool) -> Self {
        self.propagate_deadline = yes;
        self
    }

    /// Sends the trace context in the headers of each attempt, as this propagator writes it. By default none is sent.
    /// W3C `baggage` is sent only to the call's own origin.
    #[must_use]
    pub fn trace_propagator(mut self, propagator: impl Propagator) -> Self {
        self.propagator = Some(Arc::new(ContainedPropagator::new(propagator)));
        self
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = AttemptService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            attempt: Some(Attempts::new(
                self.timeouts,
                self.propagate_deadline,
                self.propagator.clone(),
            )),
            ..Policies::default()
        };
        Driver::new(inner, Now, policies)
    }
}

/// The service of [`AttemptLayer`].
pub type AttemptService<S> = Driver<S, Now>;
