//! Tests name servers over TLS and HTTPS, on real loopback sockets.
#![cfg(feature = "encrypted-dns")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use sevenhops::dns::{Answer, DnsError, DnsErrorReason, Resolve, Resolver, ResolverBuilder};
use sevenhops::testing::{DnsScript, QueryTransport, ScriptedDns, TestCa};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

#[tokio::test]
async fn answers_come_over_tls() {
    let far = Far::start(Speaks::Tls).await;
    let builder = Resolver::builder().tls_servers([(far.addr, "dns.test")]);

    let answer = far.ask(builder).await.unwrap();

    assert_eq!(answer.addresses(), [IpAddr::from([10, 0, 0, 1])]);
    assert_eq!(far.queries(), 2);
}

#[tokio::test]
async fn answers_come_over_https() {
    let far = Far::start(Speaks::Https).await;
    let builder = Resolver::builder().https_servers([(far.addr, "https://dns.test/ask")]);

    let answer = far.ask(builder).await.unwrap();

    assert_eq!(answer.addresses(), [IpAddr::from([10, 0, 0, 1])]);
    assert_eq!(far.queries(), 2);
}

#[tokio::test]
async fn server_with_a_wrong_certificate_is_not_trusted_and_no_other_server_is_queried() {
    for speaks in [Speaks::Tls, Speaks::Https] {
        let far = Far::start(speaks).await;
        let builder = Resolver::builder().timeout(Duration::from_secs(1));
        let builder = match speaks {
            Speaks::Tls => builder.tls_servers([(far.addr, "other.test")]),
            Speaks::Https => builder.https_servers([(far.addr, "https://other.test/ask")]),
        };

        let error = far.ask(builder).await.unwrap_err();

        assert!(!error.reason().is_negative(), "{error:?}");
        assert_ne!(error.reason(), DnsErrorReason::ServerFailure);
        assert_eq!(far.queries(), 0);
    }
}

#[tokio::test]
async fn only_server_has_the_whole_timeout_and_a_silent_connection_is_not_used_again() {
    for speaks in [Speaks::Tls, Speaks::Https] {
        let far = Far::start(speaks).await;
        far.dns.set("silent.test", DnsScript::Silent);
        let limit = Duration::from_secs(1);
        let builder = Resolver::builder().timeout(limit);
        let resolver = far.resolver(match speaks {
            Speaks::Tls => builder.tls_servers([(far.addr, "dns.test")]),
            Speaks::Https => builder.https_servers([(far.addr, "https://dns.test/ask")]),
        });
        resolver.resolve("api.test").answer().await.unwrap();

        let (accepted, begun) = (far.accepted(), Instant::now());
        let error = resolver.resolve("silent.test").answer().await.unwrap_err();
        assert_eq!(error.reason(), DnsErrorReason::Timeout);
        assert!(begun.elapsed() >= limit, "{:?}", begun.elapsed());

        // The query ends a moment after the lookup. From then on, its connection is not used.
        let reconnected = async {
            for number in 0.. {
                let other = resolver.resolve(&format!("{number}.test"));
                assert!(other.answer().await.unwrap_err().reason().is_negative());
                if far.accepted() > accepted {
                    break;
                }
            }
        };
        timeout(20 * limit, reconnected).await.unwrap();
    }
}

#[test]
fn server_that_cannot_be_certified_is_refused_by_name() {
    let addr: SocketAddr = "127.0.0.1:853".parse().unwrap();
    let refusal = |builder: ResolverBuilder| builder.build().unwrap_err().to_string();

    assert_eq!(
        refusal(Resolver::builder().tls_servers([(addr, "no name")])),
        "resolver.tls_servers: \"no name\" is invalid: expected a TLS server name"
    );
    for (url, shown) in [
        ("http://dns.test/", "http://dns.test/"),
        ("dns.test", "dns.test"),
        ("https://dns.test/?a=b", "https://dns.test/"),
        ("https://dns.test/#a", "https://dns.test/"),
        ("https://dns.test:8443/", "https://dns.test:8443/"),
        ("https://:pw@dns.test/", "dns.test/"),
    ] {
        assert_eq!(
            refusal(Resolver::builder().https_servers([(addr, url)])),
            format!(
                "resolver.https_servers: {shown:?} is invalid: expected an https URL of a host and a path"
            )
        );
    }
}

#[test]
fn builder_does_not_show_the_secrets_of_a_url() {
    let addr: SocketAddr = "127.0.0.1:443".parse().unwrap();
    for url in [
        "https://u:canary@dns.test/ask",
        "https://dns.test/ask?key=canary",
        "https://dns.test/ask#canary",
    ] {
        let builder = Resolver::builder().https_servers([(addr, url)]);
        let shown = format!("{builder:?}");
        assert!(shown.contains("dns.test/ask"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[derive(Clone, Copy)]
enum Speaks {
    Tls,
    Https,
}

/// A server that unwraps queries and forwards them to a scripted one.
struct Far {
    authority: TestCa,
    dns: ScriptedDns,
    addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Far {
    async fn start(speaks: Speaks) -> Self {
        let dns = ScriptedDns::start().await.unwrap();
        dns.set("api.test", DnsScript::addresses([[10, 0, 0, 1].into()]));
        let authority = TestCa::new().unwrap();
        let identity = authority.issue(&["dns.test"]).unwrap();
        let alpn: &[&[u8]] = match speaks {
            Speaks::Tls => &[],
            Speaks::Https => &[b"h2"],
        };
        let acceptor = TlsAcceptor::from(identity.server_config(alpn));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counting = (Arc::clone(&accepted), dns.addr());
        let task = tokio::spawn(serve((listener, acceptor), speaks, counting));
        Self {
            authority,
            dns,
            addr,
            accepted,
            task: task.abort_handle(),
        }
    }

    fn resolver(&self, builder: ResolverBuilder) -> Resolver {
        let builder = builder.tls(self.authority.client_config());
        builder.hosts_file(false).build().unwrap()
    }

    async fn ask(&self, builder: ResolverBuilder) -> Result<Answer, DnsError> {
        self.resolver(builder).resolve("api.test").answer().await
    }

    /// Returns the number of connections so far.
    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Returns how many queries arrived, all of them over a stream.
    fn queries(&self) -> usize {
        let queries = self.dns.queries();
        assert!(queries.iter().all(|q| q.transport == QueryTransport::Tcp));
        queries.len()
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    (listener, acceptor): (TcpListener, TlsAcceptor),
    speaks: Speaks,
    (accepted, dns): (Arc<AtomicUsize>, SocketAddr),
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        accepted.fetch_add(1, Ordering::Relaxed);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            match speaks {
                // Inside TLS, messages are framed as over TCP.
                Speaks::Tls => {
                    let mut inner = TcpStream::connect(dns).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut inner).await;
                }
                Speaks::Https => https(stream, dns).await,
            }
        });
    }
}

async fn https(stream: TlsStream<TcpStream>, dns: SocketAddr) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::spawn(async move {
            assert_eq!(request.uri(), "https://dns.test/ask");
            let answer = pass_on(request, dns).await;
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::OK;
            let kind = http::HeaderValue::from_static("application/dns-message");
            head.headers_mut().insert("content-type", kind);
            let mut body = respond.send_response(head, false).unwrap();
            body.send_data(answer, true).unwrap();
        });
    }
}

async fn pass_on(request: Request<h2::RecvStream>, dns: SocketAddr) -> Bytes {
    assert_eq!(request.method(), Method::POST);
    let mut body = request.into_body();
    let mut query = BytesMut::new();
    while let Some(bytes) = body.data().await {
        query.put(bytes.unwrap());
    }
    let mut inner = TcpStream::connect(dns).await.unwrap();
    let length = u16::try_from(query.len()).unwrap();
    inner.write_u16(length).await.unwrap();
    inner.write_all(&query).await.unwrap();
    let mut answer = vec![0; inner.read_u16().await.unwrap().into()];
    inner.read_exact(&mut answer).await.unwrap();
    answer.into()
}
