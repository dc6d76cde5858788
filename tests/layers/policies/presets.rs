//! The presets, each tested with responses from the service's public documentation.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use sevenhops::hop::FailureClass::{self, Permanent, Success, Throttled, Transient};
use sevenhops::policy::retry::Failure;
use sevenhops::{Effect, Options, StandardLayer, presets};
use tower::{Layer, ServiceExt};

use super::served::{Answer, Piece, answer, serving};
use crate::mock::{optional, standard, steady};

type Preset = fn(&Failure<'_>) -> Option<FailureClass>;

/// A response, its class, and whether a POST without a key and a GET are retried after it.
type Row = (Answer, Option<FailureClass>, (bool, bool));

fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers.push((name, value.to_owned()));
    answer
}

/// Sends a POST and a GET to a service with this response. Returns the class, and the number of requests of each.
async fn told(preset: Preset, said: &Answer) -> (Option<FailureClass>, [u32; 2]) {
    let class = Arc::new(Mutex::new(None));
    let mut requests = [0; 2];
    for (method, requests) in [Method::POST, Method::GET].into_iter().zip(&mut requests) {
        let told = Arc::clone(&class);
        let layer = standard(steady()).classify_all(move |failure| {
            let class = preset(failure);
            told.lock().unwrap().get_or_insert(class);
            class
        });
        let (service, count) = serving([said.clone()]);
        let request = optional(method, Options::new().whole_body(1 << 20));
        let _ = layer.layer(service).oneshot(request).await;
        *requests = *count.lock().unwrap();
    }
    let class = class.lock().unwrap().flatten();
    (class, requests)
}

async fn hold(preset: Preset, rows: &[Row]) {
    for (said, class, (post, get)) in rows {
        let found = told(preset, said).await;
        let expected = (
            *class,
            [post, get].map(|is_retried| 1 + u32::from(*is_retried)),
        );
        assert_eq!(found, expected, "{said:?}");
    }
}

const BOTH: (bool, bool) = (true, true);
const SAFE: (bool, bool) = (false, true);
const NONE: (bool, bool) = (false, false);

/// "Error handling with DynamoDB" (Amazon DynamoDB Developer Guide), "AWS JSON 1.1 protocol" (Smithy), "Error
/// responses" (Amazon S3 API Reference), "Error codes" (Amazon EC2 API Reference).
#[tokio::test(start_paused = true)]
async fn aws() {
    let dynamodb = |code: &str| {
        let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
        answer(400, format!(r#"{{"__type":"{kind}","message":"slower"}}"#))
    };
    let xml = |status, code: &str| {
        let text = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code></Error>");
        answer(status, text)
    };
    let ec2 =
        "<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>";
    let typed = |value| with(answer(400, "{}"), "x-amzn-errortype", value);
    let rows = [
        (
            dynamodb("ProvisionedThroughputExceededException"),
            Some(Throttled),
            BOTH,
        ),
        (dynamodb("ThrottlingException"), Some(Throttled), BOTH),
        (dynamodb("ConditionalCheckFailedException"), None, NONE),
        (
            typed("ThrottlingException:http://internal.amazon.com/coral/"),
            Some(Throttled),
            BOTH,
        ),
        (typed("TooManyRequestsException"), Some(Throttled), BOTH),
        (
            typed("aws.protocoltests#ThrottledException"),
            Some(Throttled),
            BOTH,
        ),
        (typed("ValidationException"), None, NONE),
        (
            answer(400, r#"{"code":"RequestTimeoutException"}"#),
            Some(Transient),
            SAFE,
        ),
        (answer(400, r#"{"code":7}"#), None, NONE),
        (xml(503, "SlowDown"), Some(Throttled), SAFE),
        (xml(400, "RequestTimeout"), Some(Transient), SAFE),
        (xml(403, "AccessDenied"), None, NONE),
        (answer(503, ec2), Some(Throttled), SAFE),
        (answer(500, "<html>"), None, SAFE),
        // An error under a 200, and a document that only mentions one.
        (xml(200, "InternalError"), Some(Transient), SAFE),
        (xml(200, "SlowDown"), Some(Throttled), SAFE),
        (xml(200, "InvalidPart"), Some(Permanent), NONE),
        (
            answer(200, "<Log><Error><Code>SlowDown</Code></Error></Log>"),
            None,
            NONE,
        ),
        (
            answer(200, r#"{"__type":"ThrottlingException"}"#),
            None,
            NONE,
        ),
    ];
    hold(presets::aws::classify, &rows).await;
}

#[tokio::test(start_paused = true)]
async fn error_code_in_a_compressed_or_truncated_body_is_read() {
    let long = format!(
        r#"{{"__type":"ThrottlingException","message":"{}"}}"#,
        "x".repeat(9_000)
    );
    let rows = [
        (answer(400, long), None, NONE),
        (answer(400, ""), None, NONE),
        (
            with(answer(400, "not gzip"), "content-encoding", "gzip"),
            None,
            NONE,
        ),
    ];
    hold(presets::aws::classify, &rows).await;
}

/// "Advanced error handling" and "Error codes" (Stripe documentation).
#[tokio::test(start_paused = true)]
async fn stripe() {
    let told = |status, word| with(answer(status, "{}"), "stripe-should-retry", word);
    let coded = |status, code: &str| {
        let text = format!(r#"{{"error":{{"code":"{code}","type":"invalid_request_error"}}}}"#);
        answer(status, text)
    };
    let rows = [
        (told(500, "true"), Some(Transient), SAFE),
        (told(500, "false"), Some(Permanent), NONE),
        (told(429, "true"), Some(Throttled), BOTH),
        (told(429, "false"), Some(Permanent), NONE),
        (told(409, "true"), Some(Throttled), SAFE),
        (told(402, "maybe"), None, NONE),
        (coded(429, "lock_timeout"), Some(Throttled), BOTH),
        (coded(400, "lock_timeout"), Some(Throttled), BOTH),
        (coded(402, "card_declined"), None, NONE),
        (answer(429, r#"{"error":{}}"#), None, BOTH),
    ];
    hold(presets::stripe::classify, &rows).await;
}

/// "Rate limits for the REST API" (GitHub documentation).
#[tokio::test(start_paused = true)]
async fn github() {
    let later = |status| with(answer(status, ""), "retry-after", "2");
    let left = |status, left| with(answer(status, ""), "x-ratelimit-remaining", left);
    let rows = [
        (later(403), Some(Throttled), BOTH),
        (later(429), Some(Throttled), BOTH),
        (left(403, "0"), Some(Throttled), BOTH),
        (left(429, "0"), Some(Throttled), BOTH),
        (left(403, "41"), None, NONE),
        (answer(403, ""), None, NONE),
        (later(404), None, NONE),
        (left(200, "0"), None, NONE),
        (later(503), None, SAFE),
    ];
    hold(presets::github::classify, &rows).await;
}

async fn waited(layer: &StandardLayer, said: Answer) -> Result<Duration, u16> {
    let begun = tokio::time::Instant::now();
    let (service, count) = serving([said]);
    let request = optional(Method::GET, Options::new());
    let status = layer
        .layer(service)
        .oneshot(request)
        .await
        .unwrap()
        .status();
    match *count.lock().unwrap() {
        1 => Err(status.as_u16()),
        _ => Ok(begun.elapsed()),
    }
}

#[tokio::test(start_paused = true)]
async fn github_reset_time_is_read() {
    let layer = standard(steady())
        .classify(presets::github::classify)
        .hint(presets::github::hint);
    let dated = with(answer(403, ""), "date", "Thu, 01 Jan 1970 00:16:40 GMT");
    let limited = |left, reset: &str| {
        let limited = with(dated.clone(), "x-ratelimit-remaining", left);
        with(limited, "x-ratelimit-reset", reset)
    };
    let near = |wait: Result<Duration, u16>, secs| {
        let wait = wait.unwrap().as_secs_f64();
        assert!((secs..=secs * 1.1 + 0.01).contains(&wait), "{wait}");
    };
    near(waited(&layer, limited("0", "1003")).await, 3.0);
    // The reset has passed already, or cannot be read: the client's own backoff applies.
    near(waited(&layer, limited("0", "900")).await, 0.1);
    near(waited(&layer, limited("0", "soon")).await, 1.0);
    near(
        waited(&layer, with(limited("0", "1004"), "retry-after", "2")).await,
        2.0,
    );
    // Longer than the call waits for.
    assert_eq!(waited(&layer, limited("0", "1600")).await, Err(403));
    assert_eq!(waited(&layer, limited("7", "1003")).await, Err(403));
}

#[tokio::test(start_paused = true)]
async fn aws_retry_after_in_milliseconds_is_read() {
    let layer = standard(steady()).hint(presets::aws::hint);
    for (value, expected) in [("1500", 1_500..=1_652), ("", 100..=101), ("-3", 100..=101)] {
        let wait = waited(&layer, with(answer(503, ""), "x-amz-retry-after", value)).await;
        let millis = wait.unwrap().as_millis();
        assert!(expected.contains(&millis), "{value}: {millis}");
    }
}

/// "Errors" (Google AIP-193), "Automatic retry configuration" (AIP-194), "Resolve errors" (Google Calendar API).
#[tokio::test(start_paused = true)]
async fn google() {
    let coded = |status: u16, code: &str| {
        let text = format!(r#"{{"error":{{"code":{status},"status":"{code}","message":""}}}}"#);
        answer(status, text)
    };
    let calendar = r#"{"error":{"code":403,"errors":[{"domain":"usageLimits","reason":"rateLimitExceeded"}]}}"#;
    let denied = r#"{"error":{"code":403,"errors":[{"reason":"forbidden"}]}}"#;
    let info = r#"{"error":{"status":"PERMISSION_DENIED","details":[
        {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED"}]}}"#;
    let rows = [
        (coded(429, "RESOURCE_EXHAUSTED"), Some(Throttled), BOTH),
        (coded(503, "UNAVAILABLE"), Some(Transient), SAFE),
        (coded(500, "INTERNAL"), Some(Transient), SAFE),
        (coded(504, "DEADLINE_EXCEEDED"), Some(Transient), SAFE),
        (coded(403, "PERMISSION_DENIED"), Some(Permanent), NONE),
        (coded(409, "ABORTED"), Some(Permanent), NONE),
        (coded(400, "FAILED_PRECONDITION"), Some(Permanent), NONE),
        (coded(400, "SOMETHING_NEW"), None, NONE),
        (answer(403, calendar), Some(Throttled), BOTH),
        (answer(403, denied), None, NONE),
        (answer(403, info), Some(Throttled), BOTH),
        (answer(503, r#"{"error":"unavailable"}"#), None, SAFE),
    ];
    hold(presets::google::classify, &rows).await;
}

/// "gRPC over HTTP2" and "Status codes and their use in gRPC" (gRPC documentation).
#[tokio::test(start_paused = true)]
async fn grpc() {
    let trailing = |code| {
        let mut answer = with(answer(200, "message"), "content-type", "application/grpc");
        answer.body.push(Piece::Trailer("grpc-status", code));
        answer
    };
    let alone = |code| with(answer(200, ""), "grpc-status", code);
    let mut rows = vec![
        (trailing("0"), Some(Success), NONE),
        (trailing("14"), Some(Transient), SAFE),
        (trailing("4"), Some(Transient), SAFE),
        (trailing("99"), Some(Transient), SAFE),
        (trailing("8"), Some(Throttled), BOTH),
        (alone("14"), Some(Transient), SAFE),
        (alone("8"), Some(Throttled), BOTH),
        (alone("0"), Some(Success), NONE),
        (trailing("nine"), None, NONE),
        (answer(200, "message"), None, NONE),
        (answer(503, ""), None, SAFE),
    ];
    for code in ["1", "3", "5", "6", "7", "9", "10", "11", "12", "15", "16"] {
        rows.push((trailing(code), Some(Permanent), NONE));
    }
    hold(presets::grpc::classify, &rows).await;
}

#[tokio::test(start_paused = true)]
async fn effect_of_a_grpc_call_follows_its_code() {
    let declined = [3, 5, 7, 8, 9, 11, 12, 16];
    for code in 0..=17_u32 {
        let text = code.to_string();
        let layer = standard(steady().attempts(1)).classify_all(presets::grpc::classify);
        let (service, _) = serving([with(answer(200, "message"), "grpc-status", &text)]);
        let request = optional(Method::POST, Options::new().whole_body(1 << 20));
        let response = layer.layer(service).oneshot(request).await.unwrap();
        let expected = match code {
            0 => Effect::Done,
            code if declined.contains(&code) => Effect::Declined,
            _ => Effect::Possible,
        };
        assert_eq!(response.body().timeline().effect(), expected, "{code}");
    }
}

/// A head comes before the work is over.
#[tokio::test(start_paused = true)]
async fn effect_of_a_grpc_call_without_a_classifier_is_possible_until_its_code() {
    let message = || with(answer(200, "message"), "content-type", "application/grpc");
    let then = |mut answer: Answer, code| {
        answer.body.push(Piece::Trailer("grpc-status", code));
        answer
    };
    let trailing = |code| then(message(), code);
    let empty = || with(answer(200, ""), "content-type", "application/grpc");
    for (answer, expected) in [
        (trailing("0"), Effect::Done),
        (then(empty(), "7"), Effect::Declined),
        // A message came first, so the work had begun.
        (trailing("7"), Effect::Possible),
        (trailing("13"), Effect::Possible),
        (message(), Effect::Possible),
        (with(message(), "grpc-status", "0"), Effect::Done),
        (with(message(), "grpc-status", "7"), Effect::Declined),
        (with(message(), "grpc-status", "13"), Effect::Possible),
    ] {
        for options in [Options::new(), Options::new().whole_body(1 << 20)] {
            let (service, _) = serving([answer.clone()]);
            let layer = standard(steady().attempts(1));
            let request = optional(Method::POST, options);
            let response = layer.layer(service).oneshot(request).await.unwrap();
            let body = response.into_body();
            let timeline = body.timeline().clone();
            body.collect().await.unwrap();
            assert_eq!(timeline.effect(), expected, "{answer:?}");
        }
    }
    let (service, _) = serving([{
        let mut answer = message();
        answer.body.push(Piece::Broken);
        answer
    }]);
    let layer = standard(steady().attempts(1));
    let request = optional(Method::POST, Options::new());
    let response = layer.layer(service).oneshot(request).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible);
}
