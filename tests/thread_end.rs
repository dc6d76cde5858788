//! Tests the end of a thread during a call.

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::future::{Future, poll_fn};
    use std::sync::Arc;
    use std::task::Poll;
    use std::thread;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use opentelemetry::Context;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use sevenhops::telemetry::otel::Spans;
    use sevenhops::{Operation, StandardLayer};
    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::Notify;
    use tower::{Layer, ServiceExt, service_fn};
    use tracing_subscriber::layer::SubscriberExt;

    thread_local! {
        static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }

    type Answer = Result<Response<Full<Bytes>>, Infallible>;

    /// Starts a call that gets no response, on a runtime that is dropped with its thread.
    fn leave_a_call_under_way(direct: bool) {
        let here = Builder::new_current_thread().enable_all().build().unwrap();
        let begun = Arc::new(Notify::new());
        let begins = Arc::clone(&begun);
        let mut layer = StandardLayer::new(Duration::from_secs(10)).unwrap();
        if direct {
            layer = layer.spans(&Spans::global());
        }
        let service = layer.layer(service_fn(move |_: Request<Full<Bytes>>| {
            begins.notify_one();
            std::future::pending::<Answer>()
        }));
        let get = Request::get("https://api.test/v1").body(Full::default());
        here.spawn(service.oneshot(get.unwrap()));
        here.block_on(async {
            begun.notified().await;
            tokio::task::yield_now().await;
        });
        RUNTIME.with_borrow_mut(|runtime| *runtime = Some(here));
    }

    thread_local! {
        static WORK: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    }

    /// Starts an operation here, and drops it with the thread-locals of another thread.
    fn leave_work_with_another_thread(direct: bool) {
        let here = Builder::new_current_thread().enable_all().build().unwrap();
        let mut work = Box::pin(async move {
            let mut operation = Operation::new("payments", Duration::from_secs(10)).unwrap();
            if direct {
                operation = operation.spans(&Spans::global());
            }
            let pending = operation.run(async |_| {
                std::future::pending::<()>().await;
                Ok(())
            });
            pending.await
        });
        here.block_on(poll_fn(|cx| {
            assert!(work.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        }));
        let thread = thread::spawn(move || {
            // It is created before OpenTelemetry's thread-locals, so it is destroyed after them.
            WORK.with_borrow(|work| assert!(work.is_none()));
            drop(Context::current());
            WORK.set(Some(Box::new(work)));
        });
        thread.join().unwrap();
    }

    #[test]
    fn call_that_ends_with_its_thread_is_reported_and_does_no_harm() {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).unwrap();
        opentelemetry::global::set_tracer_provider(provider);
        for (at_first, direct) in [(true, false), (false, false), (true, true), (false, true)] {
            let thread = thread::spawn(move || {
                if at_first {
                    // It is created before any span is entered, so it is destroyed last.
                    RUNTIME.with_borrow(|runtime| assert!(runtime.is_none()));
                }
                leave_a_call_under_way(direct);
            });
            thread.join().unwrap();
            let spans = exporter.get_finished_spans().unwrap();
            let names: Vec<_> = spans.iter().map(|span| &span.name[..]).collect();
            assert_eq!(names, ["wait", "GET", "GET"]);
            exporter.reset();
        }
        for direct in [false, true] {
            leave_work_with_another_thread(direct);
            let spans = exporter.get_finished_spans().unwrap();
            assert_eq!(spans.len(), 3, "wait, attempt, operation");
            exporter.reset();
        }
    }
}
