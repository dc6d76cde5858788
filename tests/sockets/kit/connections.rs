use std::io::ErrorKind;

use sevenhops::testing::{ConnFault, FaultServer, Reply};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::client::{GET, connect, exchange, read_to_end, read_until};

#[tokio::test]
async fn each_connection_uses_up_one_fault() {
    let server = FaultServer::builder().start().await.unwrap();
    use ConnFault::{Behave, CloseAtOnce, ResetOnFirstBytes};
    server.on_connection([CloseAtOnce, Behave, ResetOnFirstBytes]);

    assert_eq!(exchange(&server, GET).await.unwrap(), "");
    drop(connect(&server).await);
    let error = exchange(&server, GET).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut last = connect(&server).await;
    last.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut last, r#"{"ok":true}"#).await;

    assert_eq!(server.connections(), 4);
    assert_eq!(server.requests()[0].connection, 4);
}

#[tokio::test]
async fn a_reset_on_accept_needs_no_request() {
    let server = FaultServer::builder().start().await.unwrap();
    server.on_connection([ConnFault::ResetAtOnce]);

    let error = match TcpStream::connect(server.addr()).await {
        Ok(mut client) => read_to_end(&mut client).await.unwrap_err(),
        Err(error) => error,
    };

    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_silent_connection_ends_with_its_client() {
    let server = FaultServer::builder().start().await.unwrap();
    server.on_connection([ConnFault::Silent]);
    let mut client = connect(&server).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    server.wait_until(|stats| stats.open_connections == 1).await;

    drop(client);

    let stats = server.wait_until(|stats| stats.open_connections == 0).await;
    assert_eq!(stats.requests, 0);
}

#[tokio::test]
async fn connections_close_on_request() {
    let server = FaultServer::builder().start().await.unwrap();
    let mut client = connect(&server).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut client, r#"{"ok":true}"#).await;
    assert_eq!(server.open_connections(), 1);

    server.close_connections();

    assert_eq!(read_to_end(&mut client).await.unwrap(), "");
    let stats = server.wait_until(|stats| stats.open_connections == 0);
    assert_eq!(stats.await.connections, 1);
}

#[tokio::test]
async fn a_stopped_server_refuses() {
    let server = FaultServer::builder().start().await.unwrap();
    let addr = server.addr();
    let mut client = connect(&server).await;
    server.wait_until(|stats| stats.connections == 1).await;

    server.stop().await;

    assert_eq!(read_to_end(&mut client).await.unwrap(), "");
    let error = TcpStream::connect(addr).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_dropped_server_closes_its_connections() {
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([Reply::Silent]);
    let mut client = connect(&server).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    server.wait_until(|stats| stats.bodies == 1).await;

    drop(server);

    assert_eq!(read_to_end(&mut client).await.unwrap(), "");
}

#[tokio::test]
async fn a_server_listens_on_the_configured_address() {
    let address = "127.0.0.2:0".parse().unwrap();

    let server = FaultServer::builder()
        .address(address)
        .start()
        .await
        .unwrap();

    assert_eq!(server.addr().ip(), address.ip());
    assert!(server.url("/x").starts_with("http://127.0.0.2:"));
}
