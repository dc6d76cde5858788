//! Tests the server's layer: what a caller passed on holds in the handler.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use sevenhops::server::{Expired, InheritLayer};
use sevenhops::timeout::TimeoutKind;
use sevenhops::{Error, Operation, OperationError, Options};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

use crate::mock::{self, Mock, Step, optional, stack, status, steady};

type Incoming = Request<Full<Bytes>>;
type Outgoing = Response<Full<Bytes>>;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn incoming(headers: &[(&'static str, &'static str)]) -> Incoming {
    let request = Request::get("https://own.test/orders");
    let with = |request: http::request::Builder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    let request = headers.iter().fold(request, with);
    request.body(Full::default()).unwrap()
}

/// Serves a request by this handler.
async fn serve<F>(request: Incoming, handler: impl FnMut(Incoming) -> F) -> Outgoing
where
    F: Future<Output = Result<Outgoing, Infallible>>,
{
    let service = InheritLayer::new().layer(service_fn(handler));
    service.oneshot(request).await.unwrap()
}

/// Makes one call of a handler.
async fn call(mock: &Mock) -> Result<StatusCode, Error> {
    let sent = stack(steady(), mock).oneshot(mock::request(Method::GET));
    sent.await.map(|response| response.status())
}

#[tokio::test(start_paused = true)]
async fn call_in_a_handler_ends_with_the_caller_s_deadline() {
    for headers in [
        [("sevenhops-timeout-ms", "500")],
        [("grpc-timeout", "500m")],
    ] {
        let mock = Mock::new((0..9).map(|_| Step::Hang));
        let kind = OnceLock::new();
        let begun = Instant::now();
        serve(incoming(&headers), async |_| {
            let error = call(&mock).await.unwrap_err();
            let _ = kind.set(error.timeout_kind());
            Ok(Outgoing::default())
        })
        .await;
        assert_eq!(begun.elapsed(), MS(500));
        assert_eq!(kind.get(), Some(&Some(TimeoutKind::Deadline)));
    }
}

#[tokio::test(start_paused = true)]
async fn caller_that_retries_leaves_one_attempt_to_the_calls_inside() {
    for (value, count) in [("1;max=3", 1), ("1;max=1", 3), ("nonsense", 3)] {
        let mock = Mock::new((0..9).map(|_| status(503)));
        serve(incoming(&[("sevenhops-attempt", value)]), async |_| {
            call(&mock).await.unwrap();
            Ok(Outgoing::default())
        })
        .await;
        assert_eq!(mock.count(), count, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn operation_in_a_handler_inherits_too() {
    let operation = Operation::new("db", MS(9000)).unwrap().idempotent(true);
    let begun = Instant::now();
    serve(incoming(&[("sevenhops-timeout-ms", "700")]), async |_| {
        let hang = async |_| std::future::pending::<Result<(), OperationError>>().await;
        let error = operation.run(hang).await.unwrap_err();
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
        Ok(Outgoing::default())
    })
    .await;
    assert_eq!(begun.elapsed(), MS(700));
}

#[tokio::test(start_paused = true)]
async fn request_whose_time_is_over_is_rejected_before_the_handler() {
    let never = async |_| panic!("the handler was called");
    let response = serve(incoming(&[("sevenhops-timeout-ms", "0")]), never).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    let mark = response.extensions().get::<Expired>().unwrap();
    assert!(!mark.had_begun());
    let grpc = [("content-type", "application/grpc"), ("grpc-timeout", "0n")];
    let response = serve(incoming(&grpc), never).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "4");
    assert_eq!(response.headers()["content-type"], "application/grpc");
}

#[tokio::test(start_paused = true)]
async fn handler_is_dropped_at_the_deadline() {
    struct Going(Arc<OnceLock<Duration>>, Instant);
    impl Drop for Going {
        fn drop(&mut self) {
            let _ = self.0.set(self.1.elapsed());
        }
    }
    let gone = Arc::new(OnceLock::new());
    let response = serve(incoming(&[("sevenhops-timeout-ms", "250")]), async |_| {
        let _going = Going(Arc::clone(&gone), Instant::now());
        std::future::pending().await
    })
    .await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(response.extensions().get::<Expired>().unwrap().had_begun());
    assert_eq!(gone.get(), Some(&MS(250)));
}

#[tokio::test(start_paused = true)]
async fn another_task_takes_the_options_from_the_extensions() {
    let mock = Mock::new((0..9).map(|_| status(503)));
    serve(
        incoming(&[("sevenhops-attempt", "2;max=3")]),
        async |request| {
            let options = request.extensions().get::<Options>().unwrap().clone();
            let service = stack(steady(), &mock);
            let sent = service.oneshot(optional(Method::GET, options));
            tokio::spawn(sent).await.unwrap().unwrap();
            Ok(Outgoing::default())
        },
    )
    .await;
    assert_eq!(mock.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn options_that_were_there_before_stay() {
    let mut request = incoming(&[("sevenhops-timeout-ms", "9000")]);
    request.extensions_mut().insert(Options::new().retry(false));
    let mock = Mock::new((0..9).map(|_| status(503)));
    serve(request, async |request| {
        let options = request.extensions().get::<Options>().unwrap().clone();
        let sent = stack(steady(), &mock).oneshot(optional(Method::GET, options));
        sent.await.unwrap();
        Ok(Outgoing::default())
    })
    .await;
    assert_eq!(mock.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn request_without_headers_has_no_deadline_and_its_calls_retry() {
    let mock = Mock::new([status(503), status(503)]);
    let response = serve(incoming(&[]), async |_| {
        tokio::time::sleep(MS(100_000)).await;
        assert_eq!(call(&mock).await.unwrap(), 200);
        Ok(Outgoing::default())
    })
    .await;
    assert_eq!((response.status(), mock.count()), (StatusCode::OK, 3));
}
