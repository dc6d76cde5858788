//! The caller's trace.

#[cfg(feature = "otel")]
use http::HeaderMap;
#[cfg(feature = "otel")]
use opentelemetry::Context;

#[cfg(feature = "otel")]
use crate::telemetry::otel::extract;

/// The context that the handler runs in, if the layer continues the trace.
#[derive(Default)]
pub(super) struct Parent {
    #[cfg(feature = "otel")]
    context: Option<Context>,
}

impl Parent {
    #[cfg(feature = "otel")]
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let context = Some(extract(headers));
        Self { context }
    }

    /// Makes it the current context while `run` runs.
    pub(super) fn within<T>(&self, run: impl FnOnce() -> T) -> T {
        #[cfg(feature = "otel")]
        let _attached = self.context.clone().map(Context::attach);
        run()
    }
}

#[cfg(test)]
#[cfg(feature = "otel")]
mod tests {
    use http::{Request, Response};
    use opentelemetry::global;
    use opentelemetry::trace::{TraceContextExt, TraceId};
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tower::{Layer, ServiceExt, service_fn};

    use super::*;
    use crate::server::InheritLayer;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// Returns the trace that a handler is part of, before and after it was suspended.
    async fn traces(layer: InheritLayer) -> [TraceId; 2] {
        let current = || Context::current().span().span_context().trace_id();
        let handler = service_fn(async |_: Request<()>| {
            let before = current();
            tokio::task::yield_now().await;
            let mut response = Response::new(());
            response.extensions_mut().insert([before, current()]);
            Ok::<_, std::convert::Infallible>(response)
        });
        let request = Request::get("/").header("traceparent", PARENT);
        let served = layer.layer(handler).oneshot(request.body(()).unwrap());
        let response = served.await.unwrap();
        assert_eq!(current(), TraceId::INVALID, "it does not leak");
        *response.extensions().get().unwrap()
    }

    #[tokio::test]
    async fn handler_continues_the_caller_s_trace_if_asked() {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let parent = TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap();
        let layer = InheritLayer::new();
        assert_eq!(traces(layer.continue_trace(true)).await, [parent; 2]);
        assert_eq!(traces(layer).await, [TraceId::INVALID; 2]);
    }
}
