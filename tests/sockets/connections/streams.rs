//! Tests how calls share the streams of HTTP/2 connections, and in which order they get them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use sevenhops::testing::{CannedResponse, ConnFault, FaultServer, Gate, Reply};
use sevenhops::{Client, Hop, Kind, TimeoutsConfig};
use tokio::task::JoinSet;

use super::raw::{Frozen, http2_client};
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
                let server = FaultServer::builder().http2();
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
        let server = FaultServer::builder().http2();
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
    let get = |client: &Client| {
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

#[tokio::test]
async fn connection_of_a_call_that_leaves_the_queue_is_closed_for_another_destination() {
    let net = Net::new().await;
    let (server, other) = (net.http2().await, FaultServer::start().await.unwrap());
    server.on_connection([ConnFault::MaxStreams(1)]);
    let builder = net.builder();
    let builder = builder.transport(|transport| transport.max_connections(1));
    let client = builder.build().unwrap();
    let get = |url: String| Box::pin(client.get(url).fetch_bytes());
    let gate = Gate::new();
    server.default_reply(CannedResponse::default().hold(&gate));
    let mut first = get(url(&server, "https"));
    let mut queued = get(url(&server, "https"));
    tokio::select! {
        _ = &mut first => unreachable!("the gate is closed"),
        _ = server.wait_until(|stats| stats.requests == 1) => {}
    }
    for _ in 0..100 {
        assert!(poll_once(&mut queued).await.is_pending());
        tokio::task::yield_now().await;
    }
    gate.open();
    first.await.unwrap();
    // The stream is free for the second call, which does not run yet. So a call to another destination waits.
    let mut third = get(url(&other, "http"));
    for _ in 0..100 {
        assert!(poll_once(&mut third).await.is_pending());
    }
    drop(queued);
    let ended = tokio::time::timeout(Duration::from_secs(5), third).await;
    ended
        .expect("the idle connection is closed for it")
        .unwrap();
    assert_eq!((server.requests_seen(), other.requests_seen()), (1, 1));
}

#[tokio::test]
async fn waiting_call_that_is_not_polled_holds_no_other_call_up() {
    let net = Net::new().await;
    let server = net.http2().await;
    server.on_connection([ConnFault::MaxStreams(1)]);
    let client = net.client();
    let get = || Box::pin(client.get(url(&server, "https")).fetch_bytes());
    let gate = Gate::new();
    server.default_reply(CannedResponse::default().hold(&gate));
    let mut first = get();
    tokio::select! {
        _ = &mut first => unreachable!("the gate is closed"),
        _ = server.wait_until(|stats| stats.requests == 1) => {}
    }
    let mut waiting = get();
    assert!(poll_once(&mut waiting).await.is_pending());
    gate.open();
    first.await.unwrap();
    let third = tokio::time::timeout(Duration::from_secs(2), get()).await;
    third.expect("a stream is free").unwrap();
    assert_eq!(server.requests_seen(), 2);
    drop(waiting);
}

async fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

#[tokio::test]
async fn wait_for_the_dial_of_another_call_is_no_limit_of_this_client() {
    let net = Net::new().await;
    let server = net.http2().await;
    let long = Duration::from_secs(600);
    let builder = Client::builder(2 * long)
        .config(|config| config.timeouts(TimeoutsConfig::new().connect(long).tls(long)))
        .transport(|transport| {
            let transport = transport.tls(net.authority.client_config());
            transport.resolver(net.dns.resolver())
        });
    let (client, url) = (builder.build().unwrap(), url(&server, "https"));
    client.get(&url).fetch_bytes().await.unwrap();
    server.close_connections();
    server.wait_until(|stats| stats.open_connections == 0).await;
    server.on_connection([ConnFault::Silent]);
    let get = |deadline| {
        let get = client.get(&url);
        let get = get.options(|options| options.deadline(deadline).retry(false));
        get.fetch_bytes()
    };
    let dialing = tokio::spawn(get(long));
    server.wait_until(|stats| stats.connections == 2).await;
    let waiting = tokio::spawn(get(Duration::from_secs(1)));
    let frozen = Frozen::now();
    while !waiting.is_finished() {
        tokio::time::advance(Duration::from_millis(100)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::resume();
    drop(frozen);
    let error = waiting.await.unwrap().unwrap_err();
    let told = (error.hop(), error.kind());
    assert_eq!(told, (Some(Hop::Connect), Kind::Timeout), "{error}");
    assert_eq!(server.connections(), 2);
    dialing.abort();
}
