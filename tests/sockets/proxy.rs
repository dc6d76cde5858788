//! Tests proxies on real sockets: the path of a request, which side looks names up, and the error if the proxy refuses.

mod refusals;

use http::StatusCode;
use sevenhops::hop::{Attempt, Stage};
use sevenhops::testing::{ClosedPort, FaultServer, ProxyServer, RecordedRequest};
use sevenhops::{Client, Effect, Error, Hop, Kind};

use crate::net::{Net, url};

async fn server(net: &Net, tls: bool) -> FaultServer {
    let mut server = FaultServer::builder();
    if tls {
        server = server
            .tls(net.authority.issue(&["far.test"]).unwrap())
            .http2();
    }
    server.start().await.unwrap()
}

/// A proxy that knows far.test, which the client's own name server does not.
async fn proxy(server: &FaultServer) -> ProxyServer {
    let authority = format!("far.test:{}", server.addr().port());
    let proxy = ProxyServer::builder().route(&authority, server.addr());
    proxy.start().await.unwrap()
}

fn far(server: &FaultServer, scheme: &str) -> String {
    url(server, scheme).replace("api.test", "far.test")
}

async fn attempt(client: &Client, url: &str) -> Attempt {
    let response = client.post(url).body("amount=100").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let timeline = response.timeline().cloned().unwrap();
    response.bytes().await.unwrap();
    let drawn = timeline.to_string();
    assert!(
        drawn.lines().all(|line| line.chars().count() <= 80),
        "{drawn}"
    );
    let attempt = timeline.attempts().pop().unwrap();
    let via = attempt.via().map(|via| format!(" · via {via}"));
    assert!(via.is_none_or(|via| drawn.contains(&via)), "{drawn}");
    attempt
}

fn stages(attempt: &Attempt) -> Vec<Stage> {
    attempt.stages().iter().map(|row| row.stage()).collect()
}

use Stage::{Connect, Receive, Send, Tls, Wait};

#[tokio::test]
async fn http_proxy_forwards_http_and_looks_the_name_up_itself() {
    let net = Net::new().await;
    let server = server(&net, false).await;
    let proxy = proxy(&server).await;
    let client = net
        .builder()
        .transport(|transport| transport.proxy(proxy.url()))
        .build()
        .unwrap();
    let attempt = attempt(&client, &far(&server, "http")).await;
    assert_eq!(stages(&attempt), [Connect, Send, Wait, Receive]);
    assert_eq!(
        (attempt.via(), attempt.peer_addr()),
        (Some(&*proxy.url()), Some(proxy.addr()))
    );
    assert_eq!((proxy.forwarded(), proxy.tunnels()), (1, 0));
    assert_eq!(net.dns.queries().len(), 0);
}

#[tokio::test]
async fn http_proxy_tunnels_https_and_the_handshake_is_that_of_the_destination() {
    let net = Net::new().await;
    let server = server(&net, true).await;
    let proxy = proxy(&server).await;
    let client = net
        .builder()
        .transport(|transport| transport.proxy(proxy.url()))
        .build()
        .unwrap();
    let first = attempt(&client, &far(&server, "https")).await;
    assert_eq!(stages(&first), [Connect, Tls, Send, Wait, Receive]);
    assert_eq!(first.version(), Some(http::Version::HTTP_2));
    assert!(attempt(&client, &far(&server, "https")).await.is_reused());
    assert_eq!((proxy.forwarded(), proxy.tunnels()), (0, 1));
    assert_eq!(net.dns.queries().len(), 0);
}

#[tokio::test]
async fn socks_proxy_looks_the_name_up_itself_for_http_and_https() {
    let net = Net::new().await;
    for (tls, scheme) in [(false, "http"), (true, "https")] {
        let server = server(&net, tls).await;
        let proxy = proxy(&server).await;
        let client = net
            .builder()
            .transport(|transport| transport.proxy(proxy.socks_url()))
            .build()
            .unwrap();
        let attempt = attempt(&client, &far(&server, scheme)).await;
        let setup: &[Stage] = if tls { &[Connect, Tls] } else { &[Connect] };
        assert_eq!(stages(&attempt), [setup, &[Send, Wait, Receive]].concat());
        assert_eq!(attempt.via(), Some(&*proxy.socks_url()));
        assert_eq!(proxy.tunnels(), 1);
    }
    assert_eq!(net.dns.queries().len(), 0);
}

#[tokio::test]
async fn name_of_the_proxy_is_looked_up_here() {
    let net = Net::new().await;
    let server = server(&net, false).await;
    let proxy = proxy(&server).await;
    for scheme in ["http", "socks5h"] {
        let named = format!("{scheme}://api.test:{}", proxy.addr().port());
        let client = net
            .builder()
            .transport(|transport| transport.proxy(&named))
            .build()
            .unwrap();
        let attempt = attempt(&client, &far(&server, "http")).await;
        assert_eq!(
            (attempt.via(), attempt.peer_addr()),
            (Some(&*named), Some(proxy.addr()))
        );
    }
    assert_eq!(net.dns.queries_for("far.test"), 0);
    assert!(net.dns.queries_for("api.test") > 0);
}

#[tokio::test]
async fn exception_is_reached_directly_and_the_rest_through_the_proxy() {
    let net = Net::new().await;
    let server = server(&net, false).await;
    let proxy = proxy(&server).await;
    let client = net.builder().transport(|transport| {
        transport
            .proxy(proxy.url())
            .no_proxy("api.test, 10.0.0.0/8")
    });
    let client = client.build().unwrap();
    let straight = attempt(&client, &url(&server, "http")).await;
    assert_eq!(
        (straight.via(), straight.peer_addr()),
        (None, Some(server.addr()))
    );
    let proxied = attempt(&client, &far(&server, "http")).await;
    assert_eq!(proxied.via(), Some(&*proxy.url()));
    assert_eq!((proxy.forwarded(), server.requests_seen()), (1, 2));
}

#[tokio::test]
async fn exceptions_of_every_form_are_reached_directly() {
    let net = Net::new().await;
    let server = server(&net, false).await;
    let proxy = proxy(&server).await;
    let port = server.addr().port();
    for (list, host) in [
        ("*".to_owned(), "127.0.0.1"),
        (format!("api.test:{port}"), "api.test"),
        (format!("127.0.0.1:{port}"), "127.0.0.1"),
        ("localhost 127.0.0.0/8".to_owned(), "127.0.0.1"),
        ("localhost 127.0.0.0/8".to_owned(), "0x7f.1"),
        ("10.0.0.0/8\t.TEST.".to_owned(), "api.test"),
    ] {
        let builder = net
            .builder()
            .transport(|transport| transport.proxy(proxy.url()).no_proxy(&list));
        let url = format!("http://{host}:{port}/v1/charges");
        let straight = attempt(&builder.build().unwrap(), &url).await;
        let went = (straight.via(), straight.peer_addr());
        assert_eq!(went, (None, Some(server.addr())), "{list:?}");
    }
    assert_eq!((proxy.forwarded(), proxy.refused()), (0, 0));
    let builder = net
        .builder()
        .transport(|transport| transport.proxy(proxy.url()));
    let other_port =
        builder.transport(|transport| transport.no_proxy(format!("far.test:{}", port ^ 1)));
    let proxied = attempt(&other_port.build().unwrap(), &far(&server, "http")).await;
    assert_eq!(proxied.via(), Some(&*proxy.url()));
}

#[tokio::test]
async fn unreadable_exception_is_refused_at_build_and_named() {
    let net = Net::new().await;
    for builder in [
        net.builder(),
        net.builder()
            .transport(|transport| transport.proxy("http://a.test:1")),
    ] {
        let built = builder
            .transport(|transport| transport.no_proxy("api.test, 192.168.*"))
            .build();
        let told = built.unwrap_err().to_string();
        assert!(
            told.starts_with("transport.no_proxy: the entry \"192.168.*\" is"),
            "{told}"
        );
    }
}

/// Returns the failure of a call through a proxy. None of its forms holds the password.
async fn refused(net: &Net, proxy: &str, scheme: &str) -> Error {
    let server = server(net, scheme == "https").await;
    let client = net
        .builder()
        .transport(|transport| transport.proxy(proxy))
        .build()
        .unwrap();
    let calling = client
        .post(far(&server, scheme))
        .options(|options| options.retry(false))
        .send()
        .await;
    let error = match calling {
        Ok(response) => response.error_for_status().unwrap_err(),
        Err(error) => error,
    };
    let mut told = format!("{error} {error:?} {:?}", error.timeline());
    told.push_str(&format!("{} {client:?}", error.timeline().unwrap()));
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        told.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    assert!(!told.contains("hunter2"), "{told}");
    // A refused tunnel proves that nothing was sent. A status is only the proxy's claim.
    let expected = match error.status() {
        Some(_) => Effect::Declined,
        None => Effect::None,
    };
    assert_eq!(error.effect(), expected, "{told}");
    assert_eq!(server.requests_seen(), 0);
    error
}

#[tokio::test]
async fn refusal_of_the_proxy_fails_at_connect_for_http_and_socks() {
    let net = Net::new().await;
    let rude = ProxyServer::builder().refuse(StatusCode::FORBIDDEN);
    let rude = rude.start().await.unwrap();
    let lost = ProxyServer::builder().start().await.unwrap();
    for (proxy, kind, status) in [
        (rude.url(), Kind::ProxyDenied, "403 Forbidden"),
        (rude.socks_url(), Kind::ProxyDenied, "rules"),
        (lost.url(), Kind::ProxyRefused, "502 Bad Gateway"),
        (lost.socks_url(), Kind::ProxyRefused, ""),
    ] {
        let error = refused(&net, &proxy, "https").await;
        let named = (error.hop(), error.kind());
        assert_eq!(named, (Some(Hop::Connect), kind), "{proxy}: {error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(status), "{proxy}: {cause}");
    }
}

#[tokio::test]
async fn refusing_proxy_does_not_make_its_name_suspect() {
    let net = Net::new().await;
    let rude = ProxyServer::builder().refuse(StatusCode::FORBIDDEN);
    let rude = rude.start().await.unwrap();
    for (scheme, kind) in [("http", Kind::ProxyDenied), ("socks5h", Kind::ProxyDenied)] {
        let named = format!("{scheme}://api.test:{}", rude.addr().port());
        assert_eq!(refused(&net, &named, "https").await.kind(), kind);
    }
    // One lookup for each of the two clients.
    assert_eq!(net.dns.queries_for("api.test"), 2 * 2);
}

#[tokio::test]
async fn proxy_that_requires_credentials_is_named_without_its_password() {
    let net = Net::new().await;
    let strict = ProxyServer::builder().credentials("user", "open sesame");
    let strict = strict.start().await.unwrap();
    for scheme in ["http", "socks5h"] {
        for login in ["", "user:hunter2@"] {
            let proxy = format!("{scheme}://{login}{}", strict.addr());
            let error = refused(&net, &proxy, "https").await;
            let named = (error.hop(), error.kind());
            let expected = (Some(Hop::Connect), Kind::ProxyUnauthorized);
            assert_eq!(named, expected, "{proxy}: {error}");
        }
    }
    // A forwarded request gets a response: the proxy's, not the service's.
    let error = refused(&net, &strict.url(), "http").await;
    let named = (error.hop(), error.kind());
    assert_eq!(named, (Some(Hop::Gateway), Kind::ProxyUnauthorized));
}

#[tokio::test]
async fn credentials_of_the_proxy_url_are_sent_to_the_proxy_only() {
    let net = Net::new().await;
    for tls in [false, true] {
        let server = server(&net, tls).await;
        let authority = format!("far.test:{}", server.addr().port());
        let strict = ProxyServer::builder()
            .route(&authority, server.addr())
            .credentials("us er", "open sesame");
        let strict = strict.start().await.unwrap();
        for scheme in ["http", "socks5h"] {
            let proxy = format!("{scheme}://us%20er:open%20sesame@{}", strict.addr());
            let client = net
                .builder()
                .transport(|transport| transport.proxy(&proxy))
                .build()
                .unwrap();
            let url = far(&server, if tls { "https" } else { "http" });
            let attempt = attempt(&client, &url).await;
            assert_eq!(
                attempt.via(),
                Some(&*format!("{scheme}://{}", strict.addr()))
            );
        }
        assert_eq!(server.requests_seen(), 2);
        // The proxy has to remove the credentials from a forwarded request.
        let told = |seen: &RecordedRequest| seen.headers.contains_key("proxy-authorization");
        assert!(!tls || !server.requests().iter().any(told));
    }
}

#[tokio::test]
async fn missing_proxy_is_connect_refused() {
    let net = Net::new().await;
    let closed = ClosedPort::new().unwrap();
    for scheme in ["http", "socks5h"] {
        let proxy = format!("{scheme}://{}", closed.addr());
        let error = refused(&net, &proxy, "https").await;
        let named = (error.hop(), error.kind());
        assert_eq!(
            named,
            (Some(Hop::Connect), Kind::Refused),
            "{proxy}: {error}"
        );
    }
}
