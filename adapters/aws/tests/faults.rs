//! The SDK of SQS over a server on loopback that fails.

use std::time::{Duration, Instant};

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::{Client, Config};
use bytes::Bytes;
use http::StatusCode;
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::{Effect, Hop, sdk};
use sevenhops_aws::{AwsHttpClient, EffectClassifier, effect, timeline};

const SENT: &str = r#"{"MessageId":"m-1","MD5OfMessageBody":"5d41402abc4b2a76b9719d911017c592"}"#;

/// A failure, and what the adapter says of it.
#[derive(Debug)]
struct Failed {
    effect: Effect,
    hop: Option<Hop>,
    attempts: Option<u32>,
    shown: String,
}

fn builder(url: &str, deadline: Duration) -> aws_sdk_sqs::config::Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("AKID", "canary", None, None, "test"))
        .endpoint_url(url)
        .http_client(AwsHttpClient::new(deadline).unwrap())
        .retry_classifier(EffectClassifier::new())
}

async fn send(config: aws_sdk_sqs::config::Builder) -> Result<String, Failed> {
    let client = Client::from_conf(config.build());
    let sent = client
        .send_message()
        .queue_url("https://sqs.test/q")
        .message_body("hello");
    match sent.send().await {
        Ok(sent) => Ok(sent.message_id.unwrap_or_default()),
        Err(error) => Err(judge(&error)),
    }
}

async fn look_up(config: aws_sdk_sqs::config::Builder) -> Result<String, Failed> {
    let client = Client::from_conf(config.build());
    match client.get_queue_url().queue_name("q").send().await {
        Ok(found) => Ok(found.queue_url.unwrap_or_default()),
        Err(error) => Err(judge(&error)),
    }
}

fn judge<E>(
    error: &SdkError<E, aws_smithy_runtime_api::client::orchestrator::HttpResponse>,
) -> Failed
where
    E: std::error::Error + 'static,
{
    Failed {
        effect: effect(error),
        hop: sdk::classify_error(error).hop(),
        attempts: timeline(error).map(|of| of.attempt_count()),
        shown: format!("{error} {error:?}"),
    }
}

async fn server() -> FaultServer {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::json(SENT));
    server
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test]
async fn lost_response_of_a_write_is_sent_once_and_possible() {
    let server = server().await;
    server.on_request([Reply::CloseAfterRequest]);
    let failed = send(builder(&server.url("/"), secs(10))).await.unwrap_err();
    assert_eq!(
        (failed.effect, failed.attempts),
        (Effect::Possible, Some(1))
    );
    assert_eq!((failed.hop, server.requests_seen()), (Some(Hop::Server), 1));
    assert!(!failed.shown.contains("canary"), "{}", failed.shown);
}

#[tokio::test]
async fn lost_response_of_a_read_is_retried() {
    let server = server().await;
    server.on_request([Reply::CloseAfterRequest]);
    server.default_reply(CannedResponse::json(r#"{"QueueUrl":"https://sqs.test/q"}"#));
    let found = look_up(builder(&server.url("/"), secs(10))).await.unwrap();
    assert_eq!(
        (found.as_str(), server.requests_seen()),
        ("https://sqs.test/q", 2)
    );
}

#[tokio::test]
async fn failing_status_of_a_write_is_not_retried_by_the_sdk() {
    let server = server().await;
    server.on_request([CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into()]);
    let failed = send(builder(&server.url("/"), secs(10))).await.unwrap_err();
    assert_eq!(
        (failed.effect, server.requests_seen()),
        (Effect::Possible, 1)
    );

    // A read is retried by the stack alone.
    server.default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
    let failed = look_up(builder(&server.url("/"), secs(10)))
        .await
        .unwrap_err();
    assert_eq!((failed.attempts, server.requests_seen()), (Some(3), 4));
}

#[tokio::test]
async fn throttled_write_waits_for_the_hint() {
    let server = server().await;
    let throttled = CannedResponse::new(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "1");
    server.on_request([throttled.into()]);
    let begun = Instant::now();
    assert_eq!(
        send(builder(&server.url("/"), secs(10))).await.unwrap(),
        "m-1"
    );
    assert!(begun.elapsed() >= secs(1));
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn sdk_retries_a_throttling_that_only_it_can_read() {
    let server = server().await;
    let code = r#"{"__type":"com.amazonaws.sqs#ThrottlingException"}"#;
    server.on_request([CannedResponse::json(code)
        .status(StatusCode::BAD_REQUEST)
        .into()]);
    assert_eq!(
        send(builder(&server.url("/"), secs(10))).await.unwrap(),
        "m-1"
    );
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn refused_connection_has_no_effect() {
    let closed = ClosedPort::new().unwrap();
    let failed = send(builder(&format!("http://{}", closed.addr()), secs(1)))
        .await
        .unwrap_err();
    assert_eq!(
        (failed.effect, failed.hop),
        (Effect::None, Some(Hop::Connect))
    );
}

#[tokio::test]
async fn broken_body_of_a_write_is_not_sent_again() {
    let server = server().await;
    let sent = Bytes::from_static(b"{\"Mess");
    server.on_request([Reply::TruncateBody { declared: 90, sent }]);
    let failed = send(builder(&server.url("/"), secs(10))).await.unwrap_err();
    assert_eq!(
        (failed.effect, server.requests_seen()),
        (Effect::Done, 1),
        "{failed:?}"
    );
}

#[tokio::test]
async fn deadline_ends_a_silent_call_and_a_timeout_of_the_sdk_sends_nothing_again() {
    let server = server().await;
    server.default_reply(Reply::Silent);
    let begun = Instant::now();
    let failed = send(builder(&server.url("/"), Duration::from_millis(300)))
        .await
        .unwrap_err();
    assert_eq!(
        (failed.effect, server.requests_seen()),
        (Effect::Possible, 1)
    );

    let soon = aws_sdk_sqs::config::timeout::TimeoutConfig::builder();
    let soon = soon
        .operation_attempt_timeout(Duration::from_millis(200))
        .build();
    let failed = send(builder(&server.url("/"), secs(10)).timeout_config(soon))
        .await
        .unwrap_err();
    assert_eq!(
        (failed.effect, server.requests_seen()),
        (Effect::Possible, 2)
    );
    assert!(begun.elapsed() < secs(5));
}
