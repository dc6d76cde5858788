//! Tests that the HTTP/2 windows are large enough for a path of 100 ms.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use sevenhops::testing::CannedResponse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::raw::Most;
use crate::net::Net;

/// The delay in each direction.
const WAY: Duration = Duration::from_millis(50);
const BODY: usize = 64 << 20;

/// Starts a relay to `there` that delays bytes. Counts how many bytes were on their way at once.
async fn relay(there: SocketAddr) -> (SocketAddr, Most) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let most = Most::default();
    let seen = most.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(there).await.unwrap();
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let (client, server) = (client.into_split(), server.into_split());
            tokio::spawn(carry(client.0, server.1, Most::default()));
            tokio::spawn(carry(server.0, client.1, seen.clone()));
        }
    });
    (address, most)
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, most: Most) {
    let (sender, mut pieces) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let on_the_way = Arc::new(std::sync::Mutex::new(VecDeque::new()));
    let departed = Arc::clone(&on_the_way);
    tokio::spawn(async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            departed.lock().unwrap().pop_front();
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut piece = vec![0; 256 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        {
            let mut all = on_the_way.lock().unwrap();
            all.push_back(length);
            most.see(all.iter().sum());
        }
        let due = Instant::now() + WAY;
        if sender.send((due, piece[..length].to_vec())).is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_body_over_a_long_path_takes_few_round_trips() {
    let net = Net::new().await;
    let server = net.http2().await;
    let body = vec![7; BODY];
    server.default_reply(CannedResponse::new(StatusCode::OK).body(body));
    let (address, most) = relay(server.addr()).await;
    let url = format!("https://api.test:{}/", address.port());
    let builder = net.builder().body_limit(BODY);
    let client = builder.build().unwrap();
    let mut response = client
        .get(url)
        .options(|options| options.streaming(true))
        .send()
        .await
        .unwrap();
    let mut received = 0;
    while let Some(piece) = response.chunk().await.unwrap() {
        received += piece.len();
        // Stops before the whole body has come through windows that are too small.
        if received >= BODY / 8 {
            assert!(most.get() >= 1 << 20, "{} bytes on their way", most.get());
        }
    }
    assert_eq!(received, BODY);
    // With windows of 64 KiB, at most these bytes are on their way at once, and the body takes 1,024 round trips.
    assert!(most.get() >= 4 << 20, "{} bytes on their way", most.get());
}
