//! Tests that failed assertions print the actual result.

use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sevenhops::{
    Error, Operation, OperationError, StandardLayer, assert_effect, assert_hop,
    chaos::{ChaosConfig, ChaosLayer, Fault},
};

use tower::{Layer, ServiceExt, service_fn};

/// Returns the error of a POST whose response was lost.
async fn lost() -> Error {
    let chaos = ChaosLayer::new(ChaosConfig::new(0).inject(Fault::DropResponse, 1.0)).unwrap();
    let service = StandardLayer::new(Duration::from_secs(10)).unwrap();
    let service = service.layer(chaos.layer(service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, io::Error>(http::Response::new(Full::<Bytes>::default()))
    })));
    let post = Request::post("https://api.test/v1/charges").body(Full::default());
    service.oneshot(post.unwrap()).await.unwrap_err()
}

/// The error type of an SDK.
#[derive(Debug)]
struct SdkError(Box<dyn StdError + Send + Sync>);

impl fmt::Display for SdkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the charge failed")
    }
}

impl StdError for SdkError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

fn said(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).unwrap_err();
    *panic.downcast::<String>().unwrap()
}

#[tokio::test(start_paused = true)]
async fn true_assertion_passes_for_a_wrapped_error() {
    let error = lost().await;
    assert_hop!(error, Server);
    assert_hop!(&error, Server, Closed);
    assert_effect!(error, Possible,);
    let hidden = SdkError(Box::new(io::Error::other(SdkError(Box::new(error)))));
    assert_hop!(hidden, Server, Closed,);
    let boxed: Box<dyn StdError + Send + Sync> = hidden.into();
    assert_hop!(boxed, Server, Closed);
    let boxed: Box<dyn StdError> = boxed;
    assert_effect!(boxed, Possible);
}

#[tokio::test(start_paused = true)]
async fn declined_does_not_match_another_effect() {
    let charge = Operation::new("payments", Duration::from_secs(10)).unwrap();
    let declined =
        charge.run(async |_| Err::<(), _>(OperationError::declined("no coverage").permanent()));
    let error = declined.await.unwrap_err();
    assert_effect!(error, Declined);
    for (message, expected) in [
        (said(|| assert_effect!(error, None)), "effect none"),
        (said(|| assert_effect!(error, Possible)), "effect possible"),
        (said(|| assert_effect!(error, Done)), "effect done"),
    ] {
        let first = format!("expected: {expected}\n");
        assert!(message.starts_with(&first), "{message}");
        assert!(message.contains("effect declined"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn false_assertion_shows_sentence_causes_and_waterfall() {
    let error = lost().await;
    let shown = [
        "found: POST https://api.test/v1/charges failed at server (hop 6 of 7): closed;",
        "\n     because: chaos: response lost, on purpose\n",
        "\n  attempt 1 · ",
        "\n    wait ",
        "\n  chaos: response lost, on purpose",
    ];
    for (message, expected) in [
        (said(|| assert_hop!(error, Tls)), "failed at tls"),
        (
            said(|| assert_hop!(error, Server, Timeout)),
            "failed at server: timeout",
        ),
        (
            said(|| assert_hop!(error, Receive, Closed)),
            "failed at receive: closed",
        ),
        (said(|| assert_effect!(error, None)), "effect none"),
    ] {
        let first = format!("expected: {expected}\n");
        assert!(message.starts_with(&first), "{message}");
        for part in shown {
            assert!(message.contains(part), "{part} is not in:\n{message}");
        }
    }
}

#[test]
fn error_that_is_not_ours_is_shown_with_its_causes() {
    let foreign = SdkError(Box::new(io::Error::other(SdkError("no coverage".into()))));
    assert_effect!(foreign, Possible);
    let message = said(|| assert_hop!(foreign, Dns));
    assert_eq!(
        message,
        "expected: failed at dns\n   found: failed: other, effect possible\n     because: the charge failed\n     \
         because: the charge failed\n     because: the charge failed\n     because: no coverage\n"
    );
}
