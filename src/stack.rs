//! The standard stack, outermost first: the order, and the reason for each place.

use std::time::Duration;

use tower_layer::Layer;

use crate::error::SettingError;
use crate::guard::attempt::{AttemptLayer, AttemptService};
use crate::guard::call::{CallLayer, CallService};
use crate::limit::Limits;

/// The guards of a call in their order, over any transport.
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
#[derive(Clone, Copy, Debug)]
pub struct StandardLayer {
    limits: Limits,
}

impl StandardLayer {
    /// The guards with the defaults that follow from the deadline.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is shorter than 10 ms or longer than 24 h.
    pub fn new(deadline: Duration) -> Result<Self, SettingError> {
        Limits::new(deadline).map(Self::under)
    }

    /// The guards under these limits.
    #[must_use]
    pub const fn under(limits: Limits) -> Self {
        Self { limits }
    }
}

impl<S> Layer<S> for StandardLayer {
    type Service = CallService<AttemptService<S>>;

    fn layer(&self, transport: S) -> Self::Service {
        // Next to the wire: its limits and its tracker are those of one try.
        let attempt = AttemptLayer::new(self.limits).layer(transport);
        // Around everything: the deadline spans all tries, the waits between them and the body.
        CallLayer::within(self.limits.deadline()).layer(attempt)
    }
}
