//! Tests how many addresses of a proxy are asked after a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sevenhops::testing::{ConnFault, DnsScript, FaultServer};
use sevenhops::{Effect, Hop, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::refused;
use crate::net::Net;

/// Starts a proxy at two addresses. At each message it sends the next reply. Counts its connections.
async fn proxy_at_two(net: &Net, replies: &'static [&'static [u8]]) -> (u16, Arc<AtomicUsize>) {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let both = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
    net.dns.set("two.test", DnsScript::addresses(both));
    let connections = Arc::new(AtomicUsize::new(0));
    for listener in [first, second] {
        let connections = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                for reply in replies {
                    let _ = stream.read(&mut [0; 1_024]).await;
                    let _ = stream.write_all(reply).await;
                }
            }
        });
    }
    (port, connections)
}

#[tokio::test]
async fn permanent_refusal_of_a_proxy_is_not_repeated_at_its_next_address() {
    const NO_LOGIN: &[u8] = &[5, 0];
    const BY_PASSWORD: &[u8] = &[5, 2];
    const DENIED: &[u8] = &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0];
    const UNREACHABLE: &[u8] = &[5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
    type Case = (&'static str, &'static [&'static [u8]], Kind, usize);
    let cases: [Case; 5] = [
        (
            "http",
            &[b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n"],
            Kind::ProxyUnauthorized,
            1,
        ),
        (
            "http",
            &[b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"],
            Kind::ProxyDenied,
            1,
        ),
        (
            "socks5h",
            &[BY_PASSWORD, &[1, 1]],
            Kind::ProxyUnauthorized,
            1,
        ),
        ("socks5h", &[NO_LOGIN, DENIED], Kind::ProxyDenied, 1),
        // The other address may reach the destination.
        ("socks5h", &[NO_LOGIN, UNREACHABLE], Kind::ProxyRefused, 2),
    ];
    for (scheme, replies, kind, most) in cases {
        let net = Net::new().await;
        let (port, connections) = proxy_at_two(&net, replies).await;
        let proxy = format!("{scheme}://user:hunter2@two.test:{port}");
        let error = refused(&net, &proxy, "https").await;
        assert_eq!(error.kind(), kind, "{scheme}: {error}");
        assert_eq!(
            connections.load(Ordering::SeqCst),
            most,
            "{scheme}, {kind:?}"
        );
    }
}

#[tokio::test]
async fn alert_of_an_https_proxy_in_its_own_handshake_is_a_failure_at_connect() {
    let net = Net::new().await;
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let proxy = FaultServer::builder().tls(identity);
    let proxy = proxy.start().await.unwrap();
    for scheme in ["http", "https"] {
        proxy.on_connection([ConnFault::TlsAlert]);
        let url = format!("https://user:hunter2@api.test:{}", proxy.addr().port());
        let error = refused(&net, &url, scheme).await;
        let found = (error.hop(), error.kind(), error.effect());
        let expected = (Some(Hop::Connect), Kind::Alert, Effect::None);
        assert_eq!(found, expected, "{scheme}: {error}");
        assert_ne!(error.error_type(), "_OTHER");
    }
}
