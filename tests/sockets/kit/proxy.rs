use http::{Method, StatusCode};
use sevenhops::testing::{FaultServer, ProxyServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{GET, read_until};

const CONNECT: &str = "CONNECT api.test:443 HTTP/1.1\r\nhost: api.test:443\r\n\r\n";

#[tokio::test]
async fn a_tunnel_leads_to_the_routed_address() {
    let server = FaultServer::builder().start().await.unwrap();
    let builder = ProxyServer::builder().route("api.test:443", server.addr());
    let proxy = builder.start().await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();

    client.write_all(CONNECT.as_bytes()).await.unwrap();
    assert_eq!(
        read_until(&mut client, "\r\n\r\n").await,
        "HTTP/1.1 200 OK\r\n\r\n"
    );
    client.write_all(GET.as_bytes()).await.unwrap();

    read_until(&mut client, r#"{"ok":true}"#).await;
    assert_eq!((proxy.tunnels(), server.requests_seen()), (1, 1));
}

#[tokio::test]
async fn a_tunnel_can_be_refused() {
    let builder = ProxyServer::builder().refuse(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    let proxy = builder.start().await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();

    client.write_all(CONNECT.as_bytes()).await.unwrap();

    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 407 Proxy Authentication Required\r\n"));
    assert!(head.contains("proxy-authenticate: Basic"));
    assert_eq!((proxy.tunnels(), proxy.refused()), (0, 1));
}

#[tokio::test]
async fn a_host_without_a_route_is_not_looked_up() {
    let proxy = ProxyServer::builder().start().await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();

    client.write_all(CONNECT.as_bytes()).await.unwrap();

    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
}

#[tokio::test]
async fn an_absolute_request_is_forwarded() {
    let server = FaultServer::builder().start().await.unwrap();
    let builder = ProxyServer::builder().route("api.test:80", server.addr());
    let proxy = builder.start().await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();

    let request =
        "PUT http://api.test/v1?x=1 HTTP/1.1\r\nhost: api.test\r\ncontent-length: 2\r\n\r\nhi";
    client.write_all(request.as_bytes()).await.unwrap();

    read_until(&mut client, r#"{"ok":true}"#).await;
    let seen = &server.requests()[0];
    assert_eq!(
        (seen.target.as_str(), &seen.body[..]),
        ("/v1?x=1", &b"hi"[..])
    );
    assert_eq!(proxy.forwarded(), 1);
}

#[tokio::test]
async fn the_body_after_a_407_is_not_the_next_request_and_credentials_stay_at_the_proxy() {
    let server = FaultServer::builder().start().await.unwrap();
    let builder = ProxyServer::builder().route("api.test:80", server.addr());
    let proxy = builder
        .credentials("user", "password")
        .start()
        .await
        .unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let put = |credentials: &str| {
        format!(
            "PUT http://api.test/v1 HTTP/1.1\r\nhost: api.test\r\n{credentials}content-length: 2\r\n\r\nhi"
        )
    };

    client.write_all(put("").as_bytes()).await.unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 407 "), "{head}");
    let credentials = put("proxy-authorization: Basic dXNlcjpwYXNzd29yZA==\r\n");
    client.write_all(credentials.as_bytes()).await.unwrap();
    read_until(&mut client, r#"{"ok":true}"#).await;

    let seen = &server.requests()[0];
    assert_eq!((&seen.method, &seen.body[..]), (&Method::PUT, &b"hi"[..]));
    assert!(!seen.headers.contains_key("proxy-authorization"));
    assert_eq!((proxy.forwarded(), proxy.refused()), (1, 1));
}

#[tokio::test]
async fn a_socks_tunnel_leads_to_the_routed_address() {
    let server = FaultServer::builder().start().await.unwrap();
    let builder = ProxyServer::builder().route("api.test:443", server.addr());
    let proxy = builder.start().await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();

    let mut chosen = [0; 2];
    client.write_all(&[5, 1, 0]).await.unwrap();
    client.read_exact(&mut chosen).await.unwrap();
    assert_eq!(chosen, [5, 0]);
    let wish = [&[5, 1, 0, 3, 8], &b"api.test"[..], &443_u16.to_be_bytes()].concat();
    let mut granted = [0; 10];
    client.write_all(&wish).await.unwrap();
    client.read_exact(&mut granted).await.unwrap();
    assert_eq!(granted, [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    client.write_all(GET.as_bytes()).await.unwrap();

    read_until(&mut client, r#"{"ok":true}"#).await;
    assert_eq!((proxy.tunnels(), server.requests_seen()), (1, 1));
}

#[tokio::test]
async fn socks_without_the_required_credentials_is_refused() {
    let builder = ProxyServer::builder().credentials("user", "password");
    let proxy = builder.start().await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();

    let mut chosen = [0; 2];
    client.write_all(&[5, 1, 0]).await.unwrap();
    client.read_exact(&mut chosen).await.unwrap();
    assert_eq!(chosen, [5, 0xff]);
    assert_eq!(client.read(&mut chosen).await.unwrap(), 0);
    assert_eq!((proxy.tunnels(), proxy.refused()), (0, 1));
}
