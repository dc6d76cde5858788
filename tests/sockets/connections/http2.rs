//! Tests HTTP/2 connections: which requests share them, and how they end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use h2::Reason;
use sevenhops::testing::{CannedResponse, ConnFault, Gate, Reply};
use sevenhops::{Effect, Hop, Kind};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{advance, resume};

use super::raw::{END_STREAM, Frozen, HEADERS, Peer, frame, go_away, head, http2_client, serve};
use crate::net::{Net, url};

#[tokio::test]
async fn concurrent_calls_to_a_new_host_end_with_one_connection() {
    let net = Net::new().await;
    let server = net.http2().await;
    let (client, url) = (net.client(), url(&server, "https"));
    let mut calls = JoinSet::new();
    for _ in 0..300 {
        let get = client.get(&url).options(|options| options.retry(false));
        calls.spawn(async move { get.fetch_bytes().await });
    }
    for result in calls.join_all().await {
        result.unwrap();
    }
    server.wait_until(|stats| stats.open_connections <= 1).await;
    let made = server.connections();
    client.get(&url).fetch_bytes().await.unwrap();
    assert_eq!((server.connections(), server.requests_seen()), (made, 301));
}

#[tokio::test]
async fn all_calls_that_wait_for_one_dial_use_its_connection() {
    const CALLS: usize = 50;
    for flavor in ["https", "http"] {
        let net = Net::new().await;
        let (server, client) = match flavor {
            "https" => (net.http2().await, net.client()),
            _ => {
                let server = sevenhops::testing::FaultServer::builder().http2();
                (server.start().await.unwrap(), http2_client(&net))
            }
        };
        let url = url(&server, flavor);
        client.get(&url).fetch_bytes().await.unwrap();
        server.close_connections();
        server.wait_until(|stats| stats.open_connections == 0).await;
        let gate = Gate::new();
        server.default_reply(CannedResponse::default().hold(&gate));
        let mut calls = JoinSet::new();
        for _ in 0..CALLS {
            let get = client.get(&url).options(|options| options.retry(false));
            calls.spawn(async move { get.fetch_bytes().await });
        }
        // The server responds to none of them until all of them have arrived.
        let all = server.wait_until(|stats| stats.requests == 1 + CALLS);
        let all = tokio::time::timeout(Duration::from_secs(5), all).await;
        let seen = server.requests_seen();
        all.unwrap_or_else(|_| panic!("{flavor}: {} calls wait", 1 + CALLS - seen));
        gate.open();
        for result in calls.join_all().await {
            result.unwrap();
        }
        assert!(server.connections() <= 6, "{}", server.connections());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_that_needs_several_connections_reaches_the_server_whole() {
    // More calls than permits, and more than the streams of one connection.
    const CALLS: usize = 600;
    for round in 0..4 {
        let net = Net::new().await;
        let server = sevenhops::testing::FaultServer::builder().http2();
        let server = server.start().await.unwrap();
        server.on_connection(std::iter::repeat_n(ConnFault::MaxStreams(150), CALLS));
        let (client, url) = (http2_client(&net), url(&server, "http"));
        let gate = Gate::new();
        server.default_reply(CannedResponse::default().hold(&gate));
        let mut calls = JoinSet::new();
        for _ in 0..CALLS {
            let get = client.get(&url).options(|options| options.retry(false));
            calls.spawn(async move { get.fetch_bytes().await });
        }
        // The server responds to none of them until all of them have arrived.
        let all = server.wait_until(|stats| stats.requests == CALLS);
        let all = tokio::time::timeout(Duration::from_secs(8), all).await;
        let seen = server.requests_seen();
        all.unwrap_or_else(|_| panic!("round {round}: {} calls wait", CALLS - seen));
        gate.open();
        for result in calls.join_all().await {
            result.unwrap();
        }
    }
}

#[tokio::test]
async fn streams_that_end_together_wake_as_many_calls() {
    let net = Net::new().await;
    let server = net.http2().await;
    server.on_connection([ConnFault::MaxStreams(8)]);
    let builder = net.builder();
    let builder = builder.transport(|transport| transport.max_connections(1));
    let client = builder.build().unwrap();
    let url = url(&server, "https");
    client.get(&url).fetch_bytes().await.unwrap();
    server.on_request(std::iter::repeat_n(Reply::Silent, 8));
    let get = |client: &sevenhops::Client| {
        client
            .get(&url)
            .options(|options| options.retry(false))
            .fetch_bytes()
    };
    let mut given_up = JoinSet::new();
    (0..8).for_each(|_| drop(given_up.spawn(get(&client))));
    server.wait_until(|stats| stats.requests == 9).await;
    let gate = Gate::new();
    server.default_reply(CannedResponse::default().hold(&gate));
    let mut waiting = JoinSet::new();
    (0..8).for_each(|_| drop(waiting.spawn(get(&client))));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.requests_seen(), 9);
    given_up.shutdown().await;
    let all = server.wait_until(|stats| stats.requests == 17);
    let all = tokio::time::timeout(Duration::from_secs(5), all).await;
    let seen = server.requests_seen();
    all.unwrap_or_else(|_| panic!("{} calls wait", 17 - seen));
    gate.open();
    for result in waiting.join_all().await {
        result.unwrap();
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn calls_get_streams_in_the_order_in_which_they_came() {
    let net = Net::new().await;
    let server = net.http2().await;
    server.on_connection([ConnFault::MaxStreams(1)]);
    let builder = net.builder();
    let builder = builder.transport(|transport| transport.max_connections(1));
    let client = builder.build().unwrap();
    let gate = Gate::new();
    server.default_reply(CannedResponse::default().hold(&gate));
    // As soon as a call is over, its task makes the next one.
    let calls = |name: char, count: usize| {
        let client = client.clone();
        let url = url(&server, "https");
        async move {
            for nth in 1..=count {
                let get = client.get(format!("{url}{name}{nth}"));
                let get = get.options(|options| options.retry(false));
                get.fetch_bytes().await.unwrap();
            }
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(calls('a', 4));
    server.wait_until(|stats| stats.requests == 1).await;
    for name in ['b', 'c', 'd'] {
        tasks.spawn(calls(name, 1));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    gate.open();
    tasks.join_all().await;
    let requests = server.requests();
    let paths = requests.iter().map(|one| one.path());
    let order: Vec<_> = paths.map(|path| &path[path.len() - 2..]).collect();
    assert_eq!(order, ["a1", "b1", "c1", "d1", "a2", "a3", "a4"]);
    assert_eq!(server.connections(), 1);
}

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
