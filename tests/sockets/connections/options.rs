//! Options of connections, as the server sees them.

use sevenhops::testing::FaultServer;
use sevenhops::{Blame, Client, Error, Hop, Kind, TransportBuilder};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::unbounded_channel;

use super::raw::{END_STREAM, HEADERS, Peer, frame, read_head, serve};
use crate::net::Net;

type Set = fn(TransportBuilder) -> TransportBuilder;

async fn client(set: Set) -> Client {
    let net = Net::new().await;
    net.builder().transport(set).build().unwrap()
}

/// Returns the head of a GET as the server reads it.
async fn written(set: Set) -> String {
    let (told, mut heads) = unbounded_channel();
    let address = serve(move |mut stream, _| {
        let told = told.clone();
        async move {
            told.send(read_head(&mut stream).await?).unwrap();
            let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(ok).await
        }
    })
    .await;
    let get = client(set).await.get(format!("http://{address}/"));
    get.header("x-trace-id", "7").send().await.unwrap();
    heads.recv().await.unwrap()
}

#[tokio::test]
async fn field_names_are_in_title_case_only_if_configured() {
    let titled = written(|transport| transport.http1_title_case_headers(true)).await;
    assert!(titled.contains("\r\nX-Trace-Id: 7\r\n"), "{titled}");
    assert!(titled.contains("\r\nHost: "), "{titled}");
    let lower = written(|transport| transport).await;
    assert!(lower.contains("\r\nx-trace-id: 7\r\n"), "{lower}");
}

/// Sends a GET. The response has three header fields of 20 bytes each, and `content-length`.
async fn over_http1(set: Set) -> Result<(), Error> {
    let address = serve(|mut stream, _| async move {
        read_head(&mut stream).await?;
        let fields = (0..3).map(|n| format!("x-field-{n}: 12345678\r\n"));
        let fields: String = fields.collect();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).await?;
        // Longer than the client needs.
        read_head(&mut stream).await.map(drop)
    })
    .await;
    let get = client(set).await.get(format!("http://{address}/"));
    get.options(|options| options.retry(false))
        .send()
        .await
        .map(drop)
}

#[tokio::test]
async fn head_of_an_http1_response_is_bounded_in_fields_and_in_bytes() {
    let within: [Set; 3] = [
        |transport| transport,
        |transport| transport.http1_max_headers(4),
        |transport| transport.http1_max_header_bytes(200),
    ];
    for set in within {
        over_http1(set).await.unwrap();
    }
    let beyond: [Set; 2] = [
        |transport| transport.http1_max_headers(3),
        |transport| transport.http1_max_header_bytes(60),
    ];
    for set in beyond {
        let error = over_http1(set).await.unwrap_err();
        assert_eq!(error.kind(), Kind::LocalProtocol, "{error}");
        assert_eq!(error.blame(), Blame::Client);
    }
}

/// A GET that is answered with a field of this length in the head, and with these trailers.
async fn padded(set: Set, bytes: usize, trailers: String) -> Result<(), Error> {
    let address = serve(move |mut stream, _| {
        let trailers = trailers.clone();
        async move {
            read_head(&mut stream).await?;
            let padding = "x".repeat(bytes);
            let head = format!("transfer-encoding: chunked\r\nx-padding: {padding}\r\n");
            let response = format!("HTTP/1.1 200 OK\r\n{head}\r\n0\r\n{trailers}\r\n");
            stream.write_all(response.as_bytes()).await?;
            read_head(&mut stream).await.map(drop)
        }
    })
    .await;
    let get = client(set).await.get(format!("http://{address}/"));
    let response = get.options(|options| options.retry(false)).send().await?;
    response.bytes().await.map(drop)
}

#[tokio::test]
async fn head_of_an_http1_response_may_be_longer_than_the_default() {
    let longer = 600 << 10;
    let set: Set = |transport| transport.http1_max_header_bytes(700 << 10);
    padded(set, longer, String::new()).await.unwrap();
    for set in [(|transport| transport) as Set, |transport| {
        transport.http1_max_header_bytes(500 << 10)
    }] {
        let error = padded(set, longer, String::new()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::LocalProtocol, "{error}");
    }
}

#[tokio::test]
async fn trailers_are_bounded_in_fields_and_in_bytes() {
    let three = || "x-field: 12345678\r\n".repeat(3);
    let within: Set = |transport| transport.http1_max_headers(3).http1_max_header_bytes(200);
    padded(within, 1, three()).await.unwrap();
    let large = format!("x-large: {}\r\n", "x".repeat(17 << 10));
    let beyond: [(Set, String); 3] = [
        (|transport| transport.http1_max_headers(2), three()),
        // Longer than the head, which has 66.
        (
            |transport| transport.http1_max_header_bytes(80),
            "x-field: 12345678\r\n".repeat(5),
        ),
        (|transport| transport, large),
    ];
    for (set, trailers) in beyond {
        let error = padded(set, 1, trailers).await.unwrap_err();
        let told = (error.hop(), error.kind(), error.blame());
        let expected = (Some(Hop::Receive), Kind::LocalProtocol, Blame::Client);
        assert_eq!(told, expected, "{error}");
        assert!(error.to_string().contains("chunk trailers"), "{error}");
    }
}

/// The head of a CONNECT as the proxy reads it. The proxy refuses it.
async fn tunnelled(set: Set) -> (String, Error) {
    let (told, mut heads) = unbounded_channel();
    let address = serve(move |mut stream, _| {
        let told = told.clone();
        async move {
            told.send(read_head(&mut stream).await?).unwrap();
            let no = b"HTTP/1.1 403 No\r\na: 1\r\nb: 2\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(no).await?;
            read_head(&mut stream).await.map(drop)
        }
    })
    .await;
    let builder = Net::new().await.builder();
    let proxy = format!("http://user:password@{address}");
    let builder = builder.transport(move |transport| set(transport).proxy(proxy));
    let get = builder
        .build()
        .unwrap()
        .get("https://api.test/")
        .options(|options| options.retry(false));
    let error = get.send().await.unwrap_err();
    (heads.recv().await.unwrap(), error)
}

#[tokio::test]
async fn options_apply_to_a_tunnel_through_a_proxy() {
    let (lower, error) = tunnelled(|transport| transport).await;
    assert!(lower.contains("\r\nproxy-authorization: "), "{lower}");
    assert_eq!(error.kind(), Kind::ProxyDenied, "{error}");
    let (titled, _) = tunnelled(|transport| transport.http1_title_case_headers(true)).await;
    assert!(titled.contains("\r\nProxy-Authorization: "), "{titled}");
    let (_, error) = tunnelled(|transport| transport.http1_max_headers(2)).await;
    assert_eq!(error.kind(), Kind::ProxyRefused, "{error}");
}

/// Sends a GET over HTTP/2. The response has three header fields of 20 bytes each.
async fn over_http2(set: Set) -> Result<(), Error> {
    let address = serve(|stream, _| async move {
        let mut peer = Peer::accept(stream, 100).await?;
        let stream = peer.request().await?;
        let mut block = vec![0x88];
        for n in 0..3 {
            block.extend([0, 9]);
            block.extend(format!("x-field-{n}").bytes());
            block.push(11);
            block.extend(b"12345678901");
        }
        const END_HEADERS: u8 = 4;
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
        peer.write(&[head]).await?;
        peer.linger().await
    })
    .await;
    let get = client(set).await.get(format!("http://{address}/"));
    get.options(|options| options.retry(false))
        .send()
        .await
        .map(drop)
}

#[tokio::test]
async fn head_of_an_http2_response_is_bounded_in_bytes() {
    let known: Set = |transport| transport.http2_prior_knowledge(true);
    over_http2(known).await.unwrap();
    // 42 for the status, and 52 for each field.
    let within: Set = |transport| {
        let transport = transport.http2_prior_knowledge(true);
        transport.http2_max_header_bytes(42 + 3 * 52 + 1)
    };
    over_http2(within).await.unwrap();
    let beyond: Set = |transport| {
        let transport = transport.http2_prior_knowledge(true);
        transport.http2_max_header_bytes(100)
    };
    let error = over_http2(beyond).await.unwrap_err();
    assert_eq!(error.kind(), Kind::LocalProtocol, "{error}");
    assert_eq!(error.blame(), Blame::Client);
    assert!(
        error.to_string().contains("http2_max_header_bytes"),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_are_bound_to_the_interface() {
    let server = FaultServer::start().await.unwrap();
    let bound = client(|transport| transport.interface("lo")).await;
    let get = bound.get(server.url("/")).fetch_bytes();
    get.await.unwrap();
    let nowhere = client(|transport| transport.interface("sevenhops0")).await;
    let error = nowhere
        .get(server.url("/"))
        .options(|options| options.retry(false))
        .send()
        .await;
    let error = error.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind(), error.blame()),
        (Some(Hop::Connect), Kind::LocalResources, Blame::Client)
    );
    assert!(error.had_no_effect());
    assert!(error.to_string().contains("No such device"), "{error}");
    assert_eq!(server.connections(), 1);
}
