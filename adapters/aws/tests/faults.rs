//! The SDK of SQS over a server on loopback that fails.

use std::time::Duration;

use aws_sdk_sqs::config::timeout::{TimeoutConfig, TimeoutConfigBuilder};
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::{Client, Config};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::{Effect, Hop, StandardLayer, Timeouts, TimeoutsConfig, Transport, sdk};
use sevenhops_aws::{AwsHttpClient, EffectClassifier, effect, timeline};
use tokio::time::Instant;

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

fn judge<E>(error: &SdkError<E, HttpResponse>) -> Failed
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
async fn last_try_of_the_sdk_does_not_hide_the_try_before() {
    let server = server().await;
    let code = r#"{"__type":"com.amazonaws.sqs#InvalidMessageContents"}"#;
    let refused = CannedResponse::json(code).status(StatusCode::BAD_REQUEST);
    let unavailable = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE);
    server.on_request([refused.clone().into()]);
    let failed = send(builder(&server.url("/"), secs(10))).await.unwrap_err();
    assert_eq!(failed.effect, Effect::Declined);

    // Without the classifier, the SDK sends it again after the 503. The first message may be in the queue.
    server.on_request([unavailable.into(), refused.into()]);
    let forgetful = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("AKID", "canary", None, None, "test"))
        .endpoint_url(server.url("/"))
        .http_client(AwsHttpClient::new(secs(10)).unwrap());
    let failed = send(forgetful).await.unwrap_err();
    assert_eq!(
        (failed.effect, failed.attempts),
        (Effect::Possible, Some(1))
    );
    assert_eq!(server.requests_seen(), 3);
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

    let soon = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(200));
    let failed = send(builder(&server.url("/"), secs(10)).timeout_config(soon.build()))
        .await
        .unwrap_err();
    assert_eq!(
        (failed.effect, server.requests_seen()),
        (Effect::Possible, 2)
    );
    assert!(begun.elapsed() < secs(5));
}

/// Sends with timeouts of the SDK, over a stack with these timeouts.
async fn send_within(
    sdk: TimeoutConfigBuilder,
    stack: TimeoutsConfig,
    url: &str,
) -> Result<String, Failed> {
    let config = sevenhops::Config::new(secs(10)).timeouts(stack);
    let policies = StandardLayer::from_config(&config).unwrap();
    let timeouts = Timeouts::from_config(secs(10), stack).unwrap();
    let client = AwsHttpClient::over(&policies, Transport::new(timeouts).unwrap());
    let sdk = builder(url, secs(10)).timeout_config(sdk.build());
    send(sdk.http_client(client)).await
}

#[tokio::test]
async fn timeouts_of_the_sdk_hold_or_are_refused_before_anything_is_sent() {
    let server = server().await;
    let (soon, sdk) = (Duration::from_millis(500), TimeoutConfig::builder);
    let read_alone = sdk().disable_connect_timeout().read_timeout(secs(7));
    for (name, short) in [
        ("connect_timeout", sdk().connect_timeout(soon)),
        ("read_timeout", read_alone),
    ] {
        let failed = send_within(short, TimeoutsConfig::new(), &server.url("/")).await;
        let failed = failed.unwrap_err();
        assert_eq!((failed.effect, server.requests_seen()), (Effect::None, 0));
        let refused = format!("{name} of the SDK: ");
        assert!(failed.shown.contains(&refused), "{}", failed.shown);
    }
    let long = sdk().connect_timeout(secs(3)).read_timeout(secs(10));
    let sent = send_within(long, TimeoutsConfig::new(), &server.url("/")).await;
    assert_eq!(sent.unwrap(), "m-1");

    server.default_reply(Reply::Silent);
    let begun = Instant::now();
    let stack = TimeoutsConfig::new()
        .connect(soon)
        .tls(soon)
        .first_byte(soon);
    let same = sdk().connect_timeout(soon).read_timeout(soon);
    let failed = send_within(same, stack, &server.url("/"))
        .await
        .unwrap_err();
    assert_eq!(
        (failed.effect, failed.hop),
        (Effect::Possible, Some(Hop::Server))
    );
    assert!(begun.elapsed() < secs(8));
}

#[tokio::test]
async fn short_timeouts_of_the_sdk_are_together_the_deadline() {
    let server = server().await;
    let soon = Duration::from_millis(150);
    // Like the clients for the credentials of a machine, which have 1 s for each.
    let short = || {
        TimeoutConfig::builder()
            .connect_timeout(soon)
            .read_timeout(soon)
    };
    let sent = send_within(short(), TimeoutsConfig::new(), &server.url("/")).await;
    assert_eq!(sent.unwrap(), "m-1");

    server.default_reply(Reply::Silent);
    let begun = Instant::now();
    let failed = send_within(short(), TimeoutsConfig::new(), &server.url("/")).await;
    let failed = failed.unwrap_err();
    assert_eq!(
        (failed.effect, failed.hop),
        (Effect::Possible, Some(Hop::Server))
    );
    assert!(begun.elapsed() < secs(5));
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn body_that_cannot_be_created_again_is_sent_once() {
    let server = server().await;
    let client = AwsHttpClient::new(secs(10)).unwrap();
    let put = |body| {
        let mut request = HttpRequest::new(body);
        request.set_method("PUT").unwrap();
        request.set_uri(server.url("/object")).unwrap();
        HttpConnector::call(&client, request)
    };
    server.on_request([Reply::CloseAfterRequest]);
    let stream = SdkBody::from_body_1_x(Full::new(Bytes::from_static(b"stream")));
    let error = put(stream).await.unwrap_err();
    assert!(!error.is_timeout() && !error.is_io(), "{error:?}");
    let found = sdk::classify_error(&error);
    assert_eq!(
        (found.effect(), server.requests_seen()),
        (Effect::Possible, 1)
    );

    server.on_request([Reply::CloseAfterRequest]);
    let again =
        SdkBody::retryable(|| SdkBody::from_body_1_x(Full::new(Bytes::from_static(b"again"))));
    assert!(put(again).await.unwrap().status().is_success());
    let seen = server.requests();
    assert_eq!((seen.len(), &seen[2].body[..]), (3, b"again".as_slice()));
}
