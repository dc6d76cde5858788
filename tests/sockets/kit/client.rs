//! Clients without any policy: raw sockets for HTTP/1.1, `h2` for HTTP/2.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use rustls::ClientConfig;
use sevenhops::testing::{FaultServer, TestCa};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) const POST: &str =
    "POST /v1/charges?x=1 HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
pub(super) const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

pub(super) async fn connect(server: &FaultServer) -> TcpStream {
    TcpStream::connect(server.addr()).await.unwrap()
}

/// Sends `request` on a new connection and reads until the server closes it.
pub(super) async fn exchange(server: &FaultServer, request: &str) -> io::Result<String> {
    let mut client = connect(server).await;
    client.write_all(request.as_bytes()).await.unwrap();
    read_to_end(&mut client).await
}

pub(super) async fn read_to_end(client: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut text = Vec::new();
    client.read_to_end(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads until the received text ends with `end`.
pub(super) async fn read_until(client: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(char::from(client.read_u8().await.unwrap()));
    }
    text
}

pub(super) async fn shake_hands(
    server: &FaultServer,
    config: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let name = "api.test".try_into().unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, connect(server).await).await
}

pub(super) fn tls_error(error: &io::Error) -> &rustls::Error {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

pub(super) async fn tls_server() -> (TestCa, FaultServer) {
    let authority = TestCa::new().unwrap();
    let identity = authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    (authority, server)
}

pub(super) async fn http2_server() -> FaultServer {
    FaultServer::builder().http2().start().await.unwrap()
}

/// Opens a connection that runs in the background.
pub(super) async fn http2(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(super) async fn post(sender: &SendRequest<Bytes>, body: &'static [u8]) -> ResponseFuture {
    let mut ready = sender.clone().ready().await.unwrap();
    let request = Request::post("http://api.test/v1/charges")
        .body(())
        .unwrap();
    let (response, mut stream) = ready.send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(body), true).unwrap();
    response
}

pub(super) async fn body(response: http::Response<h2::RecvStream>) -> Result<Bytes, h2::Error> {
    let mut stream = response.into_body();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(body.into())
}
