//! Tests idle connections: how long they are kept, and that bytes read meanwhile never become a response.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sevenhops::testing::{CannedResponse, FaultServer, Gate};
use sevenhops::{Client, Effect};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{advance, resume};
use tokio_rustls::TlsAcceptor;

use super::raw::{Frozen, read_request, serve};
use crate::net::{Net, url};

const SECOND: Duration = Duration::from_secs(1);

/// Sends a POST of two bytes. Returns whether its connection was reused, and the body.
async fn charge(client: &Client, url: &str) -> (bool, String) {
    let post = client
        .post(url)
        .options(|options| options.retry(false))
        .body("10");
    let response = post.send().await.unwrap();
    let timeline = response.timeline().cloned().unwrap();
    let body = response.bytes().await.unwrap();
    assert_eq!(timeline.effect(), Effect::Done);
    let body = String::from_utf8(body.to_vec()).unwrap();
    (timeline.attempts()[0].is_reused(), body)
}

/// Responds to each request with the number of its connection, and sends this `Keep-Alive`.
async fn numbered(mut stream: TcpStream, number: usize, keep_alive: &str) -> io::Result<()> {
    let number = number.to_string();
    loop {
        read_request(&mut stream, 2).await?;
        let length = number.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nkeep-alive: {keep_alive}\r\ncontent-length: {length}");
        let response = format!("{head}\r\n\r\n{number}");
        stream.write_all(response.as_bytes()).await?;
    }
}

/// Lets the tasks of the connections run.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn server_that_closes_after_a_second_gets_no_second_request_on_a_connection() {
    let net = Net::new().await;
    let address = serve(|stream, number| numbered(stream, number, "timeout=1, max=100")).await;
    let (client, url) = (net.client(), format!("http://{address}/"));
    for number in 1..=20 {
        let (is_reused, answered) = charge(&client, &url).await;
        assert_eq!((is_reused, answered), (false, number.to_string()));
    }
}

#[tokio::test]
async fn connection_is_used_for_the_servers_keep_alive_less_a_second() {
    let net = Net::new().await;
    let address = serve(|stream, number| numbered(stream, number, "timeout=3")).await;
    let (client, url) = (net.client(), format!("http://{address}/"));
    charge(&client, &url).await;
    let frozen = Frozen::now();
    for (pause, is_reused, connection) in [
        (Duration::from_millis(1_900), true, "1"),
        (Duration::from_millis(1_900), true, "1"),
        (Duration::from_millis(2_100), false, "2"),
        (Duration::from_millis(10), true, "2"),
    ] {
        settle().await;
        advance(pause).await;
        let seen = charge(&client, &url).await;
        assert_eq!(seen, (is_reused, connection.to_owned()), "after {pause:?}");
    }
    drop(frozen);
    resume();
}

#[tokio::test]
async fn connection_that_is_idle_for_too_long_is_closed() {
    for http2 in [false, true] {
        let net = Net::new().await;
        let (server, scheme) = match http2 {
            true => (net.http2().await, "https"),
            false => (FaultServer::start().await.unwrap(), "http"),
        };
        let builder = net.builder();
        let builder = builder.transport(|transport| transport.idle_timeout(5 * SECOND));
        let client = builder.build().unwrap();
        let url = url(&server, scheme);
        charge(&client, &url).await;
        let frozen = Frozen::now();
        settle().await;
        for _ in 0..3 {
            advance(Duration::from_millis(4_900)).await;
            assert!(charge(&client, &url).await.0, "less than the limit");
            settle().await;
        }
        assert_eq!(server.open_connections(), 1);
        advance(Duration::from_millis(5_100)).await;
        // The client closes it without a new request.
        server.wait_until(|stats| stats.open_connections == 0).await;
        assert!(!charge(&client, &url).await.0);
        drop(frozen);
        resume();
    }
}

#[tokio::test]
async fn idle_time_begins_when_the_response_is_over() {
    for http2 in [false, true] {
        let net = Net::new().await;
        let (server, scheme) = match http2 {
            true => (net.http2().await, "https"),
            false => (FaultServer::start().await.unwrap(), "http"),
        };
        let gate = Gate::new();
        server.on_request([CannedResponse::default().hold(&gate).into()]);
        let builder = net.builder();
        let builder = builder.transport(|transport| transport.idle_timeout(3 * SECOND / 2));
        let client = builder.build().unwrap();
        let url = url(&server, scheme);
        let get = client.get(&url).options(|options| options.retry(false));
        let call = tokio::spawn(get.fetch_bytes());
        server.wait_until(|stats| stats.requests == 1).await;
        let frozen = Frozen::now();
        settle().await;
        advance(2 * SECOND).await;
        settle().await;
        gate.open();
        call.await.unwrap().unwrap();
        settle().await;
        advance(Duration::from_millis(1_400)).await;
        settle().await;
        assert_eq!(server.open_connections(), 1);
        advance(Duration::from_millis(200)).await;
        let closed = server.wait_until(|stats| stats.open_connections == 0);
        tokio::select! {
            _ = closed => {}
            () = settle() => panic!("it is kept for longer"),
        }
        drop(frozen);
        resume();
    }
}

#[tokio::test]
async fn connection_has_a_maximum_age() {
    let net = Net::new().await;
    let address = serve(|stream, number| numbered(stream, number, "timeout=3000")).await;
    let (client, url) = (net.client(), format!("http://{address}/"));
    charge(&client, &url).await;
    let frozen = Frozen::now();
    let mut connections = 1;
    for _ in 0..30 {
        settle().await;
        advance(30 * SECOND).await;
        connections += usize::from(!charge(&client, &url).await.0);
    }
    assert_eq!(connections, 2, "in 15 minutes");
    drop(frozen);
    resume();
}

/// Bytes of a server that do not belong to a request.
const STRAY: [&[u8]; 3] = [
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray",
    b"\r\n",
];

/// How the stray bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// In one write with the response.
    WithTheResponse,
    /// After the response, when the client has continued.
    Later,
    /// After the response, and then the connection closes.
    LaterAndCloses,
}

/// Responds to the first request of the first connection, and sends stray bytes.
async fn say_more<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    (number, stray, comes): (usize, &'static [u8], Comes),
    (more, said): (Arc<Notify>, Arc<Notify>),
) -> io::Result<()> {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nreal";
    read_request(&mut stream, 2).await?;
    if number > 1 {
        stream.write_all(OK).await?;
        stream.flush().await?;
        return std::future::pending().await;
    }
    match comes {
        Comes::WithTheResponse => {
            stream.write_all(&[OK, stray].concat()).await?;
            stream.flush().await?;
            more.notified().await;
        }
        Comes::Later | Comes::LaterAndCloses => {
            stream.write_all(OK).await?;
            stream.flush().await?;
            more.notified().await;
            stream.write_all(stray).await?;
            stream.flush().await?;
        }
    }
    if comes == Comes::LaterAndCloses {
        stream.shutdown().await?;
    }
    said.notify_one();
    // A request on this connection would be lost.
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await?;
    assert!(rest.is_empty(), "a request was sent behind the stray");
    Ok(())
}

async fn stray_is_no_response(secure: bool, stray: &'static [u8], comes: Comes, rests: bool) {
    let net = Net::new().await;
    let notes = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (more, said) = notes.clone();
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let acceptor = TlsAcceptor::from(identity.server_config(&[b"http/1.1"]));
    let address = serve(move |stream, number| {
        let (acceptor, notes) = (acceptor.clone(), notes.clone());
        let how = (number, stray, comes);
        async move {
            match secure {
                true => say_more(acceptor.accept(stream).await?, how, notes).await,
                false => say_more(stream, how, notes).await,
            }
        }
    })
    .await;
    let scheme = if secure { "https" } else { "http" };
    let url = format!("{scheme}://api.test:{}/", address.port());
    let client = net.client();
    for round in 0..2 {
        let (is_reused, body) = charge(&client, &url).await;
        assert_eq!((is_reused, body.as_str()), (false, "real"), "{round}");
        more.notify_one();
        if round == 0 {
            said.notified().await;
        }
        if rests {
            settle().await;
        }
    }
}

#[tokio::test]
async fn bytes_on_an_idle_connection_never_become_a_response() {
    for secure in [false, true] {
        for stray in STRAY {
            for comes in [Comes::WithTheResponse, Comes::Later, Comes::LaterAndCloses] {
                for rests in [false, true] {
                    let case = stray_is_no_response(secure, stray, comes, rests);
                    let limit = Duration::from_secs(5);
                    let done = tokio::time::timeout(limit, case).await;
                    let text = String::from_utf8_lossy(stray);
                    done.unwrap_or_else(|_| panic!("{secure} {text:?} {comes:?} {rests}"));
                }
            }
        }
    }
}
