//! A slow call gets a hedge, by the rules of the stack.

use std::time::Duration;

use http::uri::PathAndQuery;
use sevenhops::hop::{Attempt, NoHedgeReason, TimelineEventKind};
use sevenhops::policy::retry::Budget;
use sevenhops::testing::{FaultServer, Reply};
use sevenhops::{Config, HedgeConfig, RetryConfig, Timeline, sdk};
use sevenhops_tonic::Channel;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;

use super::service::{Scripted, Step, pushed, serving};
use super::{check, secs};

/// A channel that hedges soon, although a server on loopback has one address.
fn channel(deadline: Duration, retry: RetryConfig) -> Channel {
    let hedge = HedgeConfig::new().delay(Duration::from_millis(50));
    let config = Config::new(deadline)
        .hedge(hedge.same_address(true))
        .retry(retry);
    Channel::build(config, |transport| transport).unwrap()
}

fn idempotent(deadline: Duration) -> Channel {
    channel(deadline, RetryConfig::new()).idempotent(|_| true)
}

fn short() -> Duration {
    secs(2)
}

/// Returns why the call was not hedged.
fn refusal(call: &Timeline) -> Option<NoHedgeReason> {
    let mut events = call.events().into_iter();
    events.find_map(|event| match event.kind {
        TimelineEventKind::NotHedged(reason) => Some(reason),
        _ => None,
    })
}

/// Sends a call that hangs once. Returns its code, and why it was not hedged.
async fn unhedged(service: &Scripted, channel: &Channel) -> (Code, Option<NoHedgeReason>) {
    let origin = service.start().await;
    let (checked, calls) = sdk::observe(check(channel, &origin)).await;
    (checked.unwrap_err().code(), refusal(calls.last().unwrap()))
}

#[tokio::test]
async fn slow_call_is_hedged_and_the_loser_is_cancelled() {
    let service = Scripted::new([Step::Hang]);
    let origin = service.start().await;
    let (checked, calls) = sdk::observe(check(&idempotent(secs(10)), &origin)).await;
    assert_eq!(checked.unwrap(), serving());
    service.cancelled(1).await;

    let attempts = calls.last().unwrap().attempts();
    let shown: Vec<_> = attempts
        .iter()
        .map(|attempt: &Attempt| (attempt.is_hedge(), attempt.is_lost()))
        .collect();
    assert_eq!(shown, [(false, true), (true, false)]);

    // Each attempt tells the server the time that is left for it.
    let timeouts = service.timeouts();
    assert!(timeouts[1] <= timeouts[0] - 50, "{timeouts:?}");
    let previous = service.header("grpc-previous-rpc-attempts");
    assert_eq!(previous, [None, Some("1".to_owned())]);
}

#[tokio::test]
async fn method_that_is_not_idempotent_is_not_hedged() {
    let service = Scripted::new([Step::Hang]);
    let channel = channel(short(), RetryConfig::new());
    let (code, refusal) = unhedged(&service, &channel).await;
    assert_eq!((code, service.seen()), (Code::DeadlineExceeded, 1));
    assert!(matches!(refusal, Some(NoHedgeReason::Unsafe { .. })));
    service.cancelled(1).await;
}

#[tokio::test]
async fn hedge_is_paid_from_the_budget_of_the_retries() {
    let service = Scripted::new([Step::Hang]);
    let empty = Budget::new().ratio(0.01).min_retries_per_second(0);
    let channel = channel(short(), RetryConfig::new().budget(empty)).idempotent(|_| true);
    let (code, refusal) = unhedged(&service, &channel).await;
    assert_eq!((code, service.seen()), (Code::DeadlineExceeded, 1));
    assert_eq!(refusal, Some(NoHedgeReason::BudgetEmpty));
}

#[tokio::test]
async fn unavailable_does_not_cancel_the_hedge() {
    let failed = Step::FailAfter(2, Status::unavailable("restarting"));
    let service = Scripted::new([failed]);
    let origin = service.start().await;
    assert_eq!(
        check(&idempotent(secs(10)), &origin).await.unwrap(),
        serving()
    );
    assert_eq!(service.seen(), 2);
}

#[tokio::test]
async fn pushback_stops_the_hedges_of_the_calls_after_it() {
    // Longer than the call has time, so the first call is not retried.
    let service = Scripted::new([Step::Fail(pushed(Code::Unavailable, 60_000)), Step::Hang]);
    let origin = service.start().await;
    let channel = idempotent(short());
    let failed = check(&channel, &origin).await.unwrap_err();
    assert_eq!((failed.code(), service.seen()), (Code::Unavailable, 1));

    // The attempt times out, and the retry gets a response.
    let (checked, calls) = sdk::observe(check(&channel, &origin)).await;
    assert_eq!(checked.unwrap(), serving());
    let call = calls.last().unwrap();
    assert_eq!(refusal(call), Some(NoHedgeReason::Throttled));
    assert!(!call.attempts().iter().any(Attempt::is_hedge));
}

#[tokio::test]
async fn pushback_that_forbids_ends_the_call_and_its_hedge() {
    let forbidden = Step::FailAfter(2, pushed(Code::Unavailable, -1));
    let service = Scripted::new([forbidden, Step::Hang]);
    let origin = service.start().await;
    let failed = check(&idempotent(secs(10)), &origin).await.unwrap_err();
    assert_eq!((failed.code(), service.seen()), (Code::Unavailable, 2));
    service.cancelled(1).await;
}

#[tokio::test]
async fn request_that_streams_is_not_hedged() {
    let server = FaultServer::builder().http2().start().await.unwrap();
    server.default_reply(Reply::Silent);
    let origin = server.url("/").parse().unwrap();
    let mut client = tonic::client::Grpc::with_origin(idempotent(short()), origin);
    let messages = tokio_stream::once(HealthCheckRequest::default());
    let endless = messages.chain(tokio_stream::pending());
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let call = client.client_streaming(Request::new(endless), path, codec);
    let (called, calls) = sdk::observe(call).await;
    assert_eq!(called.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(
        refusal(calls.last().unwrap()),
        Some(NoHedgeReason::NotReplayable)
    );
    assert_eq!(server.requests_seen(), 1);
}

#[tokio::test]
async fn dropped_call_cancels_its_request() {
    let service = Scripted::new([Step::Hang, Step::Hang]);
    let origin = service.start().await;
    let channel = idempotent(secs(10));
    tokio::select! {
        checked = check(&channel, &origin) => panic!("{checked:?}"),
        () = service.wait_for(2) => {}
    }
    service.cancelled(2).await;
}
