use std::fmt;

use bytes::Bytes;
use http::Response;
use tower_layer::Layer;

use crate::driver::{Driver, Now, Policies};
use crate::error::Error;
use crate::policy::fallback::Policy;

/// Answers a failed call with the response of a function: a default value, or the result of another call.
///
/// # Example
///
/// ```
/// use sevenhops::{FallbackLayer, policy::fallback::Replacement};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let layer = FallbackLayer::new(|error| {
///     let is_known = error.hop().is_some(); // read the error now: the future cannot keep it
///     async move { is_known.then(|| http::Response::new("no recommendations".into())) }
/// });
/// let service = layer.layer(service_fn(async |_: http::Request<String>| {
///     Err::<http::Response<String>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
/// }));
///
/// let response = service.oneshot(http::Request::new(String::new())).await?;
/// let replacement = response.extensions().get::<Replacement>().unwrap();
/// println!("a fallback, because of: {}", replacement.error());
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// A part of a page that takes the whole page down.
///
/// # Defaults
///
/// There is no default: the function has to be given. It is asked once, after the last attempt, about an error of the
/// call or a 5xx. If it returns `None` or panics, the caller gets that error or that 5xx.
///
/// # Reports
///
/// The response has a [`Replacement`](crate::policy::fallback::Replacement) in its extensions. The timeline and the
/// span say that a fallback answered, and for which failure. `sevenhops.call.fallbacks` counts them. The attempts keep
/// their hops and effects: a POST that failed with effect possible may still have had its effect.
///
/// # Trade-offs
///
/// The connection of a 5xx is released before the function is polled. The client reads the rest of the body for up to
/// 250 ms. If the function returns `None`, the caller gets up to 64 KiB of that body. A longer one fails where the kept
/// part ends, and the response is marked [`Truncated`](crate::driver::Truncated).
///
/// The function has the rest of the call's deadline. After a passed deadline it is polled once more, which is enough for
/// a value.
///
/// # How people get it wrong
///
/// Answering a failed write with a success: the caller then believes that it was done. Ask
/// [`Error::effect`](crate::Error::effect) first.
///
/// Calling a second service that depends on the first one: both fail together.
///
/// # Cancel safety
///
/// Dropping the future drops the future of the function, too.
#[derive(Clone)]
pub struct FallbackLayer {
    policy: Policy,
}

impl FallbackLayer {
    /// Creates a layer that asks this function for a response after a failure.
    ///
    /// A panic in the function, or in its future, counts as `None`.
    #[must_use]
    pub fn new<F, W>(fallback: F) -> Self
    where
        F: Fn(&Error) -> W + Send + Sync + 'static,
        W: Future<Output = Option<Response<Bytes>>> + Send + 'static,
    {
        Self {
            policy: Policy::new("FallbackLayer::new", fallback),
        }
    }
}

impl<S> Layer<S> for FallbackLayer {
    type Service = FallbackService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            fallback: Some(self.policy.clone()),
            ..Policies::default()
        };
        Driver::new(inner, Now, policies)
    }
}

impl fmt::Debug for FallbackLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer").finish_non_exhaustive()
    }
}

/// The service of [`FallbackLayer`].
pub type FallbackService<S> = Driver<S, Now>;
