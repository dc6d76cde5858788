//! Tests which timelines a recorder keeps, and when it prints them.

use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sevenhops::StandardLayer;
use sevenhops::testing::TimelineRecorder;
use tower::{Layer, ServiceExt, service_fn};

type Asked = Request<Full<Bytes>>;

async fn ok(_: Asked) -> std::io::Result<http::Response<Full<Bytes>>> {
    Ok(http::Response::default())
}

/// Returns a stack that reports to a recorder.
fn recorded(recorder: &TimelineRecorder) -> StandardLayer {
    let standard = StandardLayer::new(Duration::from_secs(10)).unwrap();
    standard.on_complete(recorder.listener())
}

fn get(path: &str) -> Asked {
    let get = Request::get(format!("https://api.test{path}"));
    get.body(Full::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn recorder_waits_until_the_calls_are_over() {
    let recorder = TimelineRecorder::new();
    let service = recorded(&recorder).layer(service_fn(ok));
    assert_eq!(recorder.wait_for(0).await.len(), 0);
    let held = service.clone().oneshot(get("/one")).await.unwrap();
    assert_eq!(recorder.timelines().len(), 0); // its body has not ended
    tokio::spawn(async move { drop(service.oneshot(get("/two")).await) });
    assert_eq!(recorder.wait_for(1).await[0].url(), "https://api.test/two");
    drop(held);
    let timelines = recorder.wait_for(2).await;
    assert_eq!(timelines[1].url(), "https://api.test/one");
    let shown = recorder.to_string();
    let (two, one) = (shown.find("/two"), shown.find("/one"));
    assert!(two.is_some() && two < one, "{shown}");
}

/// Fails if the test below requests it.
#[tokio::test(start_paused = true)]
async fn test_that_may_be_asked_to_fail() {
    let recorder = TimelineRecorder::new();
    let service = recorded(&recorder).layer(service_fn(ok));
    drop(service.oneshot(get("/asked")).await.unwrap());
    assert!(std::env::var_os(ASKED).is_none(), "as asked");
}

#[test]
fn waterfalls_are_printed_when_the_test_fails_and_only_then() {
    let run = |asked: &[&str]| {
        let mut test = Command::new(std::env::current_exe().unwrap());
        let name = "kit::recorder::test_that_may_be_asked_to_fail";
        let test = test.args(["--exact", name, "--nocapture"]);
        let output = test.envs(asked.iter().map(|name| (name, "1"))).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let (passed, said) = run(&[]);
    assert!(passed && !said.contains("attempt 1"), "{said}");
    let (passed, said) = run(&[ASKED]);
    assert!(!passed && said.contains("as asked"), "{said}");
    let printed = "calls over by then: 1\nGET https://api.test/asked\n  status 200 after ";
    assert!(said.contains(printed), "{said}");
    assert!(said.contains("\n  attempt 1 · status 200\n"), "{said}");
}

const ASKED: &str = "SEVENHOPS_TEST_ASKED_TO_FAIL";
