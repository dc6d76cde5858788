//! The flight recorder of a client, read in process and through its service on a real server.
#![cfg(all(feature = "har", feature = "serde"))]

use std::time::Duration;

use http::{Method, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sevenhops::recorder::RecorderService;
use sevenhops::testing::{CannedResponse, FaultServer};
use sevenhops::{Client, Hop, Kind};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::net::{Net, url};

/// Serves recorded calls as an axum or hyper server does, and returns the URL.
async fn serve(service: RecorderService) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            let serve = hyper::service::service_fn(move |request| service.clone().oneshot(request));
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), serve).await });
        }
    });
    format!("http://{address}/debug/calls")
}

/// Makes one call that succeeds, one that fails at the service, and one that finds no name.
async fn calls(client: &Client, server: &FaultServer) {
    server.on_request([
        CannedResponse::new(StatusCode::OK).into(),
        CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into(),
    ]);
    let url = url(server, "http");
    client.get(&url).fetch_bytes().await.unwrap();
    let failed = client.post(&url).send().await.unwrap();
    assert_eq!(failed.status(), 503);
    failed.bytes().await.unwrap();
    let lost = client
        .get("http://lost.test/")
        .options(|options| options.retry(false))
        .send()
        .await;
    let error = lost.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Dns), Kind::NotFound)
    );
    let timeline = error.timeline().unwrap();
    assert_eq!(Some(error.explain()), timeline.explain());
}

async fn text(client: &Client, url: String) -> String {
    client.get(url).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn failed_and_slow_calls_are_served_as_text_json_and_har() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let client = net.client();
    calls(&client, &server).await;
    let recorder = client.flight_recorder().unwrap();
    let url = serve(recorder.service()).await;
    let operator = Client::builder(Duration::from_secs(10)).build().unwrap();

    let shown = text(&operator, url.clone()).await;
    let port = server.addr().port();
    assert!(
        shown.contains(&format!("== http://api.test:{port}: 1 failed, 1 slowest\n")),
        "{shown}"
    );
    assert!(
        shown.contains("== http://lost.test: 1 failed, 0 slowest\n"),
        "{shown}"
    );
    assert!(shown.contains("POST http://api.test"), "{shown}");
    assert!(
        shown.contains("Meaning: The service is not available (503).\n"),
        "{shown}"
    );
    assert!(shown.contains("Effect of the call: possible\n"), "{shown}");
    assert_eq!(shown, text(&operator, format!("{url}?format=text")).await);

    let json = text(&operator, format!("{url}?format=json")).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let lost = &json["destinations"][1];
    assert_eq!(lost["destination"], "http://lost.test");
    assert_eq!(lost["failed"][0]["outcome"]["kind"], "not found");
    assert_eq!(lost["slowest"].as_array().unwrap().len(), 0);
    assert_eq!(
        json["destinations"][0]["slowest"][0]["outcome"]["status"],
        200
    );

    let har = text(&operator, format!("{url}?a=1&format=har")).await;
    let har: serde_json::Value = serde_json::from_str(&har).unwrap();
    assert_eq!(har["log"]["entries"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn service_refuses_other_methods_and_formats() {
    let client = Client::builder(Duration::from_secs(10)).build().unwrap();
    let url = serve(client.flight_recorder().unwrap().service()).await;
    let empty = client.get(&url).send().await.unwrap();
    assert_eq!(empty.headers()["cache-control"], "no-store");
    assert_eq!(empty.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(empty.text().await.unwrap(), "No call is recorded.\n");
    let head = client.request(Method::HEAD, &url).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let posted = client.post(&url).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(posted.headers()["allow"], "GET, HEAD");
    let unknown = client
        .get(format!("{url}?format=xml"))
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), StatusCode::BAD_REQUEST);
    assert!(
        unknown
            .text()
            .await
            .unwrap()
            .starts_with("The formats are: text, json")
    );
}

#[tokio::test]
async fn call_that_cannot_be_encoded_and_call_that_is_dropped_are_recorded() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(sevenhops::testing::Reply::Silent);
    let client = net.client();
    let bad = client.get("http://bad.test/").header("x-bad", "\n");
    bad.send().await.unwrap_err();
    let waits = client.get(url(&server, "http")).send();
    let seen = async {
        while server.requests_seen() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = waits => unreachable!("the server is silent"),
        () = seen => {}
    }
    let recorded = client.flight_recorder().unwrap().destinations();
    let [dropped, bad] = &recorded[..] else {
        panic!("{recorded:?}");
    };
    assert_eq!(
        bad.failed()[0].explain().unwrap().action(),
        "Read the cause and correct the calling code. A retry fails in the same way."
    );
    assert_eq!((dropped.failed().len(), dropped.slowest().len()), (0, 1));
    assert_eq!(dropped.slowest()[0].explain(), None);
}

#[tokio::test]
async fn client_without_a_recorder_has_none_and_still_calls_on_complete() {
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let builder = net.builder().flight_recorder(false);
    let client = builder.on_complete(move |timeline| {
        let _ = sender.send(timeline.clone());
    });
    let client = client.build().unwrap();
    assert!(client.flight_recorder().is_none());
    client
        .get(url(&server, "http"))
        .fetch_bytes()
        .await
        .unwrap();
    assert_eq!(ended.recv().await.unwrap().attempt_count(), 1);
}
