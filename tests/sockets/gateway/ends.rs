//! The end of a gateway, and of the connections to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use sevenhops::hop::Outcome;
use sevenhops::testing::{FaultServer, Reply};
use sevenhops::{Client, sdk};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{client, get, none, send};

#[tokio::test]
async fn listener_connections_and_calls_end_with_the_handle() {
    let server = FaultServer::start().await.unwrap();
    server.on_request([Reply::Silent]);
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let url = gateway.url().to_owned();
    let pending = tokio::spawn(send(Request::get(&url).body(none()).unwrap()));
    server.wait_until(|stats| stats.requests == 1).await;
    let authority = url[7..].split('/').next().unwrap().to_owned();
    let mut idle = TcpStream::connect(&authority).await.unwrap();
    // It is accepted when the next one has been served.
    assert_eq!(get(&url).await.status(), 200);

    drop(gateway);
    assert!(pending.await.unwrap().is_err());
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
    server.wait_until(|stats| stats.given_up == 1).await;
    // The listener is closed before its connections are.
    assert!(TcpStream::connect(&authority).await.is_err());
}

#[tokio::test]
async fn call_of_an_sdk_that_hangs_up_is_given_up() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(Reply::Silent);
    let (ended, mut outcomes) = mpsc::unbounded_channel();
    let client = Client::builder(Duration::from_secs(10))
        .on_complete(move |timeline| ended.send(timeline.outcome()).unwrap_or_default());
    let gateway = sdk::gateway(&client.build().unwrap(), server.url("")).unwrap();
    let (authority, path) = gateway.url()[7..].split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let head = format!("GET /{path} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    server.wait_until(|stats| stats.requests == 1).await;
    drop(stream);
    server.wait_until(|stats| stats.given_up == 1).await;
    assert!(matches!(
        outcomes.recv().await,
        Some(Some(Outcome::Cancelled))
    ));
}

#[tokio::test]
async fn gateway_outlives_its_client_and_serves_many_connections() {
    let server = FaultServer::start().await.unwrap();
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (url, statuses) = (gateway.url().to_owned(), Arc::clone(&statuses));
        calls.spawn(async move {
            let status = get(url).await.status();
            statuses.lock().unwrap().push(status);
        });
    }
    calls.join_all().await;
    let statuses = statuses.lock().unwrap();
    assert!(statuses.len() == 50 && statuses.iter().all(|status| *status == 200));
}
