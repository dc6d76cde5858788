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

use super::raw::{
    ACK, END_STREAM, HEADERS, Most, Peer, SETTINGS, WINDOW_UPDATE, data, head, http2_client, serve,
};
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

#[tokio::test]
async fn unread_responses_leave_room_for_the_others_of_their_connection() {
    /// The window of one stream.
    const WINDOW: usize = 8 << 20;
    const UNREAD: u32 = 4;
    let net = Net::new().await;
    let address = serve(|stream, _| async move {
        let mut peer = Peer::accept(stream, 100).await?;
        // The bytes that the client accepts on the connection (RFC 9113 §6.9.2).
        let (mut window, mut requests) = (65_535, 0);
        loop {
            let frame = peer.read().await?;
            if (frame.kind, frame.stream) == (WINDOW_UPDATE, 0) {
                let more = frame.payload.try_into().unwrap();
                window += u32::from_be_bytes(more) as usize;
            }
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                // The client's windows of streams apply from now on.
                peer.write(&[super::raw::frame(SETTINGS, ACK, 0, &[])])
                    .await?;
            }
            if frame.kind != HEADERS {
                continue;
            }
            requests += 1;
            let stream = frame.stream;
            if requests > UNREAD {
                let last = data(stream, &b"small"[..window.min(5)], END_STREAM);
                peer.write(&[head(stream, 200, None, 0), last]).await?;
                continue;
            }
            peer.write(&[head(stream, 200, None, 0)]).await?;
            let mut left = WINDOW.min(window);
            window -= left;
            while left > 0 {
                let piece = left.min(16 << 10);
                peer.write(&[data(stream, &vec![7; piece], 0)]).await?;
                left -= piece;
            }
        }
    })
    .await;
    let client = http2_client(&net);
    let url = format!("http://{address}/");
    let get = || {
        let get = client.get(&url);
        get.options(|options| options.streaming(true).retry(false))
    };
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(get().send().await.unwrap());
    }
    let small = get().send().await.unwrap();
    assert_eq!(small.bytes().await.unwrap(), "small");
}
