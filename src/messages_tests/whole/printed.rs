//! Documents of several lines: timelines, recorders, classifications.

use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::Section;
use crate::hop::{Hop, Kind};
use crate::layer::StandardLayer;
use crate::recorder::FlightRecorder;
use crate::sdk::classify_error;
use crate::testing::TimelineRecorder;
use crate::{Error, Operation, OperationError};

pub(super) fn sections() -> Vec<Section> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (failed, refused) = runtime.block_on(async { (operation().await, request().await) });
    let timeline = refused.timeline().unwrap();
    let recorder = FlightRecorder::new();
    let empty = recorder.to_string();
    recorder.record(timeline);
    // The date differs from run to run.
    let recorded = recorder.to_string();
    let recorded = recorded.lines().filter(|line| !line.starts_with("Began "));
    vec![
        (
            "Error, of calls and of operations",
            vec![
                failed.to_string(),
                refused.to_string(),
                format!("{refused:?}"),
            ],
        ),
        ("Timeline Waterfall TimelineRecorder, of an operation", {
            vec![failed.timeline().unwrap().to_string()]
        }),
        (
            "Timeline Waterfall, of a request",
            vec![timeline.to_string()],
        ),
        (
            "TimelineRecorder",
            vec![TimelineRecorder::new().to_string()],
        ),
        ("FlightRecorder, empty", vec![empty]),
        (
            "FlightRecorder RecordedCalls",
            recorded.map(str::to_owned).collect(),
        ),
        ("Har", vec!["JSON: docs/telemetry.md".to_owned()]),
        ("Classification", classifications(&refused)),
        ("assert_hop!", vec![assertion(refused)]),
    ]
}

async fn operation() -> Error {
    let charge = Operation::new("charge", Duration::from_secs(10)).unwrap();
    let failed = charge.run(async |_| Err::<(), _>(OperationError::unknown("the work's error")));
    failed.await.unwrap_err()
}

async fn request() -> Error {
    let stack = ServiceBuilder::new()
        .layer(StandardLayer::new(Duration::from_secs(10)).unwrap())
        .service(service_fn(|_: Request<String>| async {
            let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
            Err::<Response<String>, _>(refused)
        }));
    let request = Request::post("https://user:secret@api.test/v1?secret");
    stack
        .oneshot(request.body(String::new()).unwrap())
        .await
        .unwrap_err()
}

fn classifications(error: &Error) -> Vec<String> {
    let lost = io::Error::from(io::ErrorKind::ConnectionReset);
    vec![
        classify_error(error).to_string(),
        classify_error(&lost).to_string(),
        classify_error(&std::fmt::Error).to_string(),
    ]
}

/// Returns the message of an assertion that does not hold.
fn assertion(error: Error) -> String {
    use crate::testing::{Suspect, check_hop};

    let caught = std::panic::catch_unwind(AssertUnwindSafe(move || {
        check_hop(error.suspect(), Hop::Tls, &[Kind::Alert]);
    }));
    let panic: Result<Infallible, _> = caught.map(|()| unreachable!());
    match panic.err().map(|panic| panic.downcast::<String>()) {
        Some(Ok(text)) => *text,
        _ => panic!("no text"),
    }
}
