use std::fmt;
use std::time::Duration;

use tower_layer::Layer;

use crate::callback::Site;
use crate::config_error::ConfigError;
use crate::driver::{Deadline, Driver, Now, Policies};
use crate::telemetry::Maker;
#[cfg(feature = "otel")]
use crate::telemetry::otel::Spans;
use crate::timeline::{Timeline, also};
use crate::timeout::check_deadline;

/// Applies the deadline to the whole call: attempts, waits and the body.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::DeadlineLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(DeadlineLayer::new(Duration::from_secs(1))?)
///     .service(service_fn(async |_request: http::Request<String>| {
///         std::future::pending::<Result<http::Response<String>, std::io::Error>>().await
///     }));
/// let error = service.oneshot(http::Request::new(String::new())).await.unwrap_err();
/// assert_eq!(error.timeout_kind(), Some(sevenhops::timeout::TimeoutKind::Deadline));
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// - A forgotten timeout.
/// - A timeout for each attempt instead of the whole call.
/// - A body that never ends.
///
/// # Defaults
///
/// There is no default: the caller must give a deadline. [`Options::deadline`](crate::Options::deadline) sets another
/// deadline for one request. With [`Options::streaming`](crate::Options::streaming) the deadline ends at the response
/// head.
///
/// # Cancel safety
///
/// Dropping the future or the body cancels the attempt below. The timeline records that the caller cancelled, not that
/// the call failed.
#[derive(Clone)]
pub struct DeadlineLayer {
    policy: Deadline,
}

impl DeadlineLayer {
    /// Creates a layer whose calls end within `deadline`.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is shorter than 10 ms or longer than 24 h.
    pub fn new(deadline: Duration) -> Result<Self, ConfigError> {
        check_deadline("deadline", deadline)?;
        Ok(Self {
            policy: Deadline {
                limit: deadline,
                observer: None,
                maker: Maker::Tracing,
            },
        })
    }

    /// Calls this function at the end of every call: after the last byte of its body, after its failure, or when the
    /// caller drops it. Functions that were set earlier are called first.
    ///
    /// The function runs on the task that ends the call, so it should be quick. If it panics, the call goes on, and the
    /// first panic is logged.
    #[must_use]
    pub fn on_complete(mut self, observe: impl Fn(&Timeline) + Send + Sync + 'static) -> Self {
        let site = Site::new("DeadlineLayer::on_complete");
        self.policy.observer = Some(also(self.policy.observer, site, observe));
        self
    }

    /// Creates the spans of every call with the OpenTelemetry API, and none with `tracing`: see [`Spans`].
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn spans(mut self, spans: &Spans) -> Self {
        self.policy.maker = Maker::Direct(spans.clone());
        self
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            deadline: Some(self.policy.clone()),
            ..Policies::default()
        };
        Driver::new(inner, Now, policies)
    }
}

impl fmt::Debug for DeadlineLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineLayer")
            .field("deadline", &self.policy.limit)
            .finish_non_exhaustive()
    }
}

/// The service of [`DeadlineLayer`].
pub type DeadlineService<S> = Driver<S, Now>;
