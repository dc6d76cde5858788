//! A server that reads slowly: as long as bytes move, no derived timeout ends the attempt.

use std::io;
use std::time::Duration;

use http::Method;
use sevenhops::{Client, RetryConfig, TimeoutsConfig};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::time::advance;

use super::raw::{Frozen, read_head, serve};
use crate::net::Net;

/// More than the kernel buffers (about 4 MiB), so that the kernel cannot hide the end of the sending.
const BODY: usize = 16 << 20;
/// The number of bytes that the server reads in a second.
const PIECE: usize = BODY / 16;
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn upload_that_takes_longer_than_half_of_the_deadline_is_sent_once() {
    let net = Net::new().await;
    let (read, mut pieces) = mpsc::unbounded_channel();
    let (go_on, mut may_read) = mpsc::unbounded_channel::<()>();
    let socket = TcpSocket::new_v4().unwrap();
    // The kernel keeps less of the body than the server reads within the send timeout.
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(8).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await?;
            let mut piece = vec![0; PIECE];
            for _ in 0..BODY / PIECE {
                stream.read_exact(&mut piece).await?;
                let _ = read.send(());
                may_read.recv().await;
            }
            stream.write_all(NO_CONTENT).await?;
        }
        io::Result::Ok(())
    });
    // If another attempt may follow, an attempt has half of that.
    let client =
        Client::builder(20 * SECOND).transport(|transport| transport.resolver(net.dns.resolver()));
    let timeouts = TimeoutsConfig::new().send(10 * SECOND);
    let client = client
        .config(|config| config.timeouts(timeouts))
        .build()
        .unwrap();
    let put = client.request(Method::PUT, format!("http://{address}/"));
    let put = tokio::spawn(put.body(vec![0; BODY]).send());
    let frozen = Frozen::now();
    for _ in 0..BODY / PIECE {
        if pieces.recv().await.is_none() {
            break;
        }
        // The kernel has room now, and the client fills it.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        advance(SECOND).await;
        let _ = go_on.send(());
    }
    drop(go_on);
    let response = put.await.unwrap().unwrap();
    let timeline = response.timeline().unwrap();
    assert_eq!(timeline.attempt_count(), 1, "{timeline}");
    assert!(timeline.elapsed() >= 16 * SECOND, "{timeline}");
    drop(frozen);
}

#[tokio::test]
async fn send_timeout_applies_to_a_request_whose_connect_had_more_time() {
    let net = Net::new().await;
    let (accepted, mut connections) = mpsc::unbounded_channel();
    let address = serve(move |mut stream, _| {
        let _ = accepted.send(());
        async move {
            read_head(&mut stream).await?;
            std::future::pending().await
        }
    })
    .await;
    // No attempt follows one that was not sent, so the connect may take all of the time. One follows a PUT that was
    // sent.
    let retry = RetryConfig::new().unsent_attempts(1);
    let client = net
        .builder()
        .config(|config| config.retry(retry))
        .build()
        .unwrap();
    let frozen = Frozen::now();
    let put = client.request(Method::PUT, format!("http://{address}/"));
    let put = tokio::spawn(put.body(vec![0; 64 << 20]).send());
    connections.recv().await.unwrap();
    let mut waited = Duration::ZERO;
    while connections.try_recv().is_err() {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        advance(SECOND / 20).await;
        waited += SECOND / 20;
        assert!(waited < 10 * SECOND);
    }
    // Half of half of the deadline of 10 s, and the backoff.
    assert!(waited <= 3 * SECOND, "{waited:?}");
    put.abort();
    drop(frozen);
}

const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
