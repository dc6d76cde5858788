//! Tests HTTP/2 connections: how they end, and what the server did then.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use h2::Reason;
use sevenhops::testing::{CannedResponse, Reply};
use sevenhops::{Effect, Hop, Kind};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::{advance, resume};

use super::raw::{
    DATA, END_STREAM, Frozen, HEADERS, Peer, frame, go_away, head, http2_client, serve,
};
use crate::net::{Net, url};

/// Returns a response without a body.
fn no_content(stream: u32) -> Vec<u8> {
    head(stream, 204, None, END_STREAM)
}

#[tokio::test]
async fn graceful_go_away_moves_new_calls_and_lets_the_others_finish() {
    const LATEST: u32 = (1 << 31) - 1;
    let net = Net::new().await;
    let (leave, left, answer) = (Notify::new(), Notify::new(), Notify::new());
    let notes = Arc::new((leave, left, answer));
    let told = Arc::clone(&notes);
    let address = serve(move |stream, number| {
        let told = Arc::clone(&told);
        async move {
            let mut peer = Peer::accept(stream, 100).await?;
            let first = peer.request().await?;
            if number > 1 {
                peer.write(&[no_content(first)]).await?;
                return peer.linger().await;
            }
            told.0.notified().await;
            peer.write(&[go_away(LATEST, Reason::NO_ERROR)]).await?;
            told.1.notify_one();
            told.2.notified().await;
            peer.write(&[no_content(first), go_away(first, Reason::NO_ERROR)])
                .await?;
            let late = peer.linger().await;
            io::Result::Err(late.unwrap_err())
        }
    })
    .await;
    let client = http2_client(&net);
    let url = format!("http://{address}/");
    let post = client
        .post(&url)
        .body("10")
        .options(|options| options.retry(false));
    let under_way = tokio::spawn(async move { post.send().await });
    notes.0.notify_one();
    notes.1.notified().await;
    let response = client
        .post(&url)
        .body("10")
        .options(|options| options.retry(false))
        .send()
        .await;
    let response = response.unwrap();
    let attempt = &response.timeline().unwrap().attempts()[0];
    assert!(!attempt.is_reused(), "{attempt:?}");
    notes.2.notify_one();
    let response = under_way.await.unwrap().unwrap();
    assert_eq!(response.timeline().unwrap().effect(), Effect::Done);
}

#[tokio::test]
async fn request_that_the_server_did_not_process_had_no_effect_and_is_sent_again() {
    let replies = [
        Reply::ResetStream(Reason::REFUSED_STREAM),
        Reply::GoAwayBelow(Reason::NO_ERROR),
        Reply::GoAwayBelow(Reason::ENHANCE_YOUR_CALM),
    ];
    for reply in replies {
        for is_used in [false, true] {
            let net = Net::new().await;
            let server = net.http2().await;
            let (client, url) = (net.client(), url(&server, "https"));
            if is_used {
                client.get(&url).fetch_bytes().await.unwrap();
            }
            server.on_request([reply.clone()]);
            let post = client
                .post(&url)
                .body("10")
                .options(|options| options.retry(false));
            let error = post.send().await.unwrap_err();
            let told = (error.kind(), error.effect());
            let expected = (Kind::Unprocessed, Effect::None);
            assert_eq!(told, expected, "{reply:?} {error}");
            server.on_request([reply.clone()]);
            let post = client.post(&url).body("10");
            let response = post.send().await.unwrap();
            assert_eq!(response.timeline().unwrap().effect(), Effect::Done);
            let before = 2 + usize::from(is_used);
            assert_eq!(server.requests_seen(), before + 1, "{reply:?}");
        }
    }
}

#[tokio::test]
async fn request_that_the_server_may_have_processed_is_not_called_unsent() {
    for reply in [
        Reply::GoAwayAtOrAbove,
        Reply::ResetStream(Reason::CANCEL),
        Reply::ResetStream(Reason::NO_ERROR),
        Reply::ResetStream(Reason::INTERNAL_ERROR),
        Reply::CloseAfterRequest,
    ] {
        let net = Net::new().await;
        let server = net.http2().await;
        server.on_request([reply.clone()]);
        let (client, url) = (net.client(), url(&server, "https"));
        let error = client.post(&url).body("10").send().await.unwrap_err();
        assert_eq!(error.effect(), Effect::Possible, "{reply:?} {error}");
        assert_eq!(server.requests_seen(), 1, "{reply:?}");
    }
}

/// Starts a peer that acknowledges PINGs or ignores them. It sends the response when the test asks for it.
async fn quiet(answers_pings: bool) -> (std::net::SocketAddr, Arc<Notify>, Arc<Notify>) {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notes = (Arc::clone(&asked), Arc::clone(&answer));
    let address = serve(move |stream, _| {
        let (asked, answer) = notes.clone();
        async move {
            let mut peer = Peer::accept(stream, 100).await?;
            loop {
                let request = peer.read().await?;
                if request.kind != HEADERS {
                    continue;
                }
                asked.notify_one();
                if answers_pings {
                    tokio::select! {
                        never = peer.linger() => return never,
                        () = answer.notified() => {}
                    }
                } else {
                    answer.notified().await;
                }
                peer.write(&[no_content(request.stream)]).await?;
            }
        }
    })
    .await;
    (address, asked, answer)
}

#[tokio::test]
async fn peer_that_does_not_acknowledge_pings_is_dark() {
    let net = Net::new().await;
    let (address, asked, _) = quiet(false).await;
    let client = http2_client(&net);
    let url = format!("http://{address}/");
    let post = client
        .post(&url)
        .body("10")
        .options(|options| options.retry(false));
    let mut call = tokio::spawn(async move { post.send().await });
    asked.notified().await;
    let frozen = Frozen::now();
    let mut waited = Duration::ZERO;
    while !call.is_finished() {
        advance(Duration::from_millis(10)).await;
        waited += Duration::from_millis(10);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    let error = (&mut call).await.unwrap().unwrap_err();
    assert_eq!(
        (error.hop(), error.kind(), error.effect()),
        (Some(Hop::Send), Kind::Unacknowledged, Effect::Possible),
        "{error}"
    );
    // The first bytes of the server came during the wait. They count as a sign that the server is alive.
    assert!(waited <= Duration::from_millis(3_200), "{waited:?}");
    drop(frozen);
    resume();
}

#[tokio::test]
async fn peer_that_acknowledges_pings_is_waited_for() {
    let net = Net::new().await;
    let (address, asked, answer) = quiet(true).await;
    let client = http2_client(&net);
    let url = format!("http://{address}/");
    let post = client
        .post(&url)
        .body("10")
        .options(|options| options.retry(false));
    let call = tokio::spawn(async move { post.send().await });
    asked.notified().await;
    let frozen = Frozen::now();
    // Longer than a peer may leave PINGs unanswered, and shorter than the first-byte timeout.
    for _ in 0..39 {
        advance(Duration::from_millis(100)).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    answer.notify_one();
    let response = call.await.unwrap().unwrap();
    assert_eq!(response.status(), 204);
    drop(frozen);
    resume();
}

#[tokio::test]
async fn end_of_a_connection_ends_only_its_own_streams() {
    let net = Net::new().await;
    let address = serve(|stream, number| async move {
        let mut peer = Peer::accept(stream, 100).await?;
        if number == 1 {
            peer.request().await?;
            // A frame whose length is longer than the maximum.
            let bad = frame(0x7f, 0, 0, &vec![0; 1 << 20]);
            peer.stream.write_all(&bad[..64]).await?;
            return peer.linger().await;
        }
        loop {
            let stream = peer.request().await?;
            peer.write(&[no_content(stream)]).await?;
        }
    })
    .await;
    let client = http2_client(&net);
    let url = format!("http://{address}/");
    let error = client
        .post(&url)
        .body("10")
        .options(|options| options.retry(false))
        .send()
        .await;
    let error = error.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible, "{error}");
    for _ in 0..3 {
        let response = client
            .post(&url)
            .body("10")
            .options(|options| options.retry(false))
            .send()
            .await;
        assert_eq!(response.unwrap().status(), 204);
    }
}

#[tokio::test]
async fn stream_that_ends_before_its_announced_length_is_incomplete() {
    let net = Net::new().await;
    let server = net.http2().await;
    let short = || {
        let short = CannedResponse::json("half").header("content-length", "100");
        Reply::from(short)
    };
    server.on_request([short()]);
    let response = net.client().get(url(&server, "https")).send().await;
    let error = response.unwrap().bytes().await.unwrap_err();
    let found = (error.hop(), error.kind(), error.effect());
    let expected = (Some(Hop::Receive), Kind::Incomplete, Effect::Done);
    assert_eq!(found, expected, "{error:?}");
    // A GET is received again.
    server.on_request([short()]);
    let fetched = net.client().get(url(&server, "https")).fetch_bytes().await;
    assert_eq!(fetched.unwrap(), r#"{"ok":true}"#);
    assert_eq!(server.requests_seen(), 3);
}

#[tokio::test]
async fn head_without_a_body_keeps_its_headers_also_if_the_stream_ends_later() {
    const END_HEADERS: u8 = 4;
    let net = Net::new().await;
    // h2 refuses a 304 with a length whose stream ends later.
    for (method, status, length) in [
        ("HEAD", 200, Some(90)),
        ("GET", 204, None),
        ("GET", 304, None),
    ] {
        let address = serve(move |stream, _| async move {
            let mut peer = Peer::accept(stream, 100).await?;
            let stream = peer.request().await?;
            let mut block = head(stream, status, length, 0).split_off(9);
            // RFC 7541 §6.2.2: a literal field whose name, content-encoding, is indexed.
            block.extend([0x0f, 0x0b, 4]);
            block.extend(b"gzip");
            peer.write(&[frame(HEADERS, END_HEADERS, stream, &block)])
                .await?;
            peer.write(&[frame(DATA, END_STREAM, stream, &[])]).await?;
            peer.linger().await
        })
        .await;
        let request =
            http2_client(&net).request(method.parse().unwrap(), format!("http://{address}/"));
        let response = request.send().await.unwrap();
        let header = |name: &str| response.headers().get(name).cloned();
        let kept = (header("content-encoding"), header("content-length"));
        let expected = ("gzip".parse().ok(), length.map(|length| length.into()));
        assert_eq!(kept, expected, "{method} {status}");
        assert_eq!(response.content_length(), Some(0), "{method} {status}");
        assert_eq!(response.bytes().await.unwrap(), "", "{method} {status}");
    }
}
