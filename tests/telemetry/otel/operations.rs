use std::time::Duration;

use http::Method;
use opentelemetry::trace::Status;
use sevenhops::{
    Operation, OperationAttempt, OperationError,
    testing::{CannedResponse, FaultServer},
};

use tower::{Layer, ServiceExt};

use super::collected::{Heard, Told, client, standard, text};
use crate::mock::{Mock, request, status};
use crate::net::{Net, url};

#[tokio::test]
async fn operation_span_contains_its_attempts_and_their_calls() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(CannedResponse::json("[1]"));
    let client = client(&net);
    let operation = Operation::new("payments", Duration::from_secs(10))
        .unwrap()
        .heard();
    let operation = operation.name("charge");
    let charge = operation.run(async |_| {
        let answer = client.get(url(&server, "http")).send().await?;
        Ok(answer.bytes().await?)
    });
    assert_eq!(charge.await.unwrap(), "[1]");
    assert_eq!(
        told.tree(),
        [
            "charge",
            "  operation attempt",
            "    GET",
            "      GET",
            "        dns",
            "        connect",
            "        send",
            "        wait",
            "        receive",
            "    wait",
        ]
    );
}

#[tokio::test]
async fn failure_without_a_hop_is_marked_without_one() {
    let told = Told::listen();
    let operation = Operation::new("payments", Duration::from_secs(10)).unwrap();
    let operation = operation.heard();
    let work = operation.run(async |_| {
        tokio::task::yield_now().await;
        Err::<(), _>(OperationError::unknown("what is that?"))
    });
    work.await.unwrap_err();
    let wait = told.only("wait");
    assert_eq!(wait.status, Status::error(""));
    assert_eq!(text(&wait, "sevenhops.kind").as_deref(), Some("other"));
    assert_eq!(text(&wait, "sevenhops.hop"), None);
    assert_eq!(
        text(&wait, "sevenhops.effect"),
        None,
        "the effect of a part is unknown"
    );
}

#[tokio::test(start_paused = true)]
async fn call_in_a_later_attempt_is_within_that_attempt() {
    let told = Told::listen();
    let operation = Operation::new("payments", Duration::from_secs(60)).unwrap();
    let operation = operation.heard();
    let layer = standard();
    let service = layer.layer(Mock::new([status(200)]));
    let work = operation.run(async |attempt: OperationAttempt| {
        if attempt.number() == 1 {
            return Err(OperationError::not_sent("refused"));
        }
        drop(service.clone().oneshot(request(Method::GET)).await.unwrap());
        Ok(())
    });
    work.await.unwrap();
    assert!(told.tree().contains(&"    GET".to_owned()));
}
