//! A server that reads slowly: as long as bytes move, no derived timeout ends the attempt.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use sevenhops::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, mpsc};
use tokio::time::advance;

use super::super::net::Net;
use super::raw::{Frozen, read_head, serve};

const BODY: usize = 6 << 20;
/// The server reads so much in a second.
const PIECE: usize = BODY / 16;
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn upload_that_takes_longer_than_half_of_the_deadline_is_sent_once() {
    let net = Net::new().await;
    let (read, mut pieces) = mpsc::unbounded_channel();
    let (go_on, may_read) = mpsc::unbounded_channel::<()>();
    let may_read = Arc::new(Mutex::new(may_read));
    let address = serve(move |mut stream, _| {
        let (read, may_read) = (read.clone(), Arc::clone(&may_read));
        async move {
            read_head(&mut stream).await?;
            let mut piece = vec![0; PIECE];
            for _ in 0..BODY / PIECE {
                stream.read_exact(&mut piece).await?;
                let _ = read.send(());
                may_read.lock().await.recv().await;
            }
            stream.write_all(NO_CONTENT).await
        }
    })
    .await;
    // An attempt that another one may follow has half of that.
    let client = Client::builder(20 * SECOND).resolver(net.dns.resolver());
    let client = client.build().unwrap();
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
    let response = put.await.unwrap().unwrap();
    let timeline = response.timeline().unwrap();
    assert_eq!(timeline.attempt_count(), 1, "{timeline}");
    assert!(timeline.elapsed() >= 16 * SECOND, "{timeline}");
    drop(frozen);
}

const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
