//! Tests that the client does not send more PINGs than servers tolerate. After two without a frame of a response
//! between them, gRPC's servers count the next one as abuse, and close the connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sevenhops::{Client, TimeoutsConfig};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{advance, resume};

use super::raw::{ACK, END_STREAM, Frozen, HEADERS, PING, Peer, data, frame, head, serve};
use crate::net::Net;

/// Acknowledges PINGs and counts them. Writes the frames that the test sends.
async fn counting(
    mut frames: UnboundedReceiver<Vec<u8>>,
    mut peer: Peer<tokio::net::TcpStream>,
    pings: Arc<AtomicUsize>,
) -> io::Result<()> {
    loop {
        // A frame is read completely: the test writes nothing while the client writes.
        let read = tokio::select! {
            read = peer.read() => read?,
            Some(next) = frames.recv() => {
                peer.write(&[next]).await?;
                continue;
            }
        };
        if read.kind == PING && read.flags & ACK == 0 {
            pings.fetch_add(1, Ordering::SeqCst);
            peer.write(&[frame(PING, ACK, 0, &read.payload)]).await?;
        }
    }
}

/// Moves the clock, while the tasks of both ends run.
async fn pass(time: Duration) {
    const STEP: Duration = Duration::from_millis(100);
    for _ in 0..time.as_millis() / STEP.as_millis() {
        advance(STEP).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

async fn patient_client() -> Client {
    let minutes = Duration::from_secs(900);
    let timeouts = TimeoutsConfig::new()
        .connect(Duration::from_secs(1))
        .send(Duration::from_secs(3))
        .first_byte(minutes)
        .body_idle(minutes)
        .attempt(minutes);
    let net = Net::new().await;
    let resolver = net.dns.resolver();
    Client::builder(minutes)
        .config(|config| config.timeouts(timeouts))
        .transport(|transport| transport.http2_prior_knowledge(true).resolver(resolver))
        .build()
        .unwrap()
}

#[tokio::test]
async fn two_pings_are_sent_between_two_frames_of_responses() {
    let pings = Arc::new(AtomicUsize::new(0));
    let (write, frames) = unbounded_channel();
    let (ask, mut asked) = unbounded_channel();
    let (seen, frames) = (Arc::clone(&pings), std::sync::Mutex::new(Some(frames)));
    let address = serve(move |stream, _| {
        let frames = frames.lock().unwrap().take();
        let (ask, seen) = (ask.clone(), Arc::clone(&seen));
        async move {
            let mut peer = Peer::accept(stream, 100).await?;
            let stream = loop {
                let frame = peer.read().await?;
                if frame.kind == HEADERS {
                    break frame.stream;
                }
            };
            ask.send(stream).unwrap();
            counting(frames.unwrap(), peer, seen).await
        }
    })
    .await;
    let client = patient_client().await;
    let get = client
        .get(format!("http://{address}/"))
        .options(|options| options.retry(false).streaming(true));
    let call = tokio::spawn(async move { get.send().await });
    let stream = asked.recv().await.unwrap();
    let frozen = Frozen::now();
    let sent = || pings.load(Ordering::SeqCst);

    pass(Duration::from_secs(300)).await;
    assert_eq!(sent(), 2, "before the head");
    write.send(head(stream, 200, None, 0)).unwrap();
    let mut response = call.await.unwrap().unwrap();
    pass(Duration::from_secs(60)).await;
    assert_eq!(sent(), 4, "after the head");
    let reading = tokio::spawn(async move {
        assert_eq!(response.chunk().await.unwrap().unwrap(), "piece");
        response.chunk().await
    });
    pass(Duration::from_millis(100)).await;
    write.send(data(stream, b"piece", 0)).unwrap();
    pass(Duration::from_secs(60)).await;
    assert_eq!(sent(), 6, "after a piece");
    write.send(data(stream, b"", END_STREAM)).unwrap();
    let last = reading.await.unwrap().unwrap();
    assert!(last.is_none_or(|last| last.is_empty()));
    drop(frozen);
    resume();
}
