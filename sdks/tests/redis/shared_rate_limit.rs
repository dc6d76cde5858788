//! A rate limit that two clients share over a real Redis. The time of tokio is advanced, not slept.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use http::{Request, Response};
use redis::{Client, Value, cmd};
use sevenhops::hop::TimelineEventKind;
use sevenhops::policy::rate_limit::{SharedRateLimit, SharedRateLimitConfig};
use sevenhops::redis::RedisStore;
use sevenhops::{Config, Error, Policy, RateLimitConfig, RetryConfig, StandardLayer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

use super::servers::Server;

/// A process of a fleet of two, with a connection of its own.
fn process(port: u16, limit: RateLimitConfig) -> StandardLayer {
    let store = RedisStore::new(&format!("redis://127.0.0.1:{port}/")).unwrap();
    let store = store.prefix("test:");
    // The machine of a test may be slow.
    let timeout = Duration::from_secs(5);
    let shared = SharedRateLimitConfig::new(2).timeout(timeout);
    let shared = SharedRateLimit::new(store, shared).unwrap();
    let config = Config::new(Duration::from_secs(60)).retry(RetryConfig::new().attempts(1));
    let layer = StandardLayer::from_config(&config.rate_limit(limit)).unwrap();
    layer.share_rate_limit(&shared)
}

/// Eight an hour, at once; other calls are rejected.
fn eight() -> RateLimitConfig {
    let hour = Duration::from_secs(3_600);
    RateLimitConfig::new(8).per(hour).wait(false)
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    ByStore,
    ByLocalShare,
    Rejected,
}

async fn call(process: &StandardLayer) -> Sent {
    let request = Request::get("https://api.test/").body(String::new());
    let service =
        service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new(String::new())));
    let ended: Result<_, Error> = process.layer(service).oneshot(request.unwrap()).await;
    match ended {
        Ok(response) => {
            let notes = response.body().timeline().events();
            let is_local = |kind| matches!(kind, TimelineEventKind::LocalShare);
            match notes.into_iter().any(|note| is_local(note.kind)) {
                true => Sent::ByLocalShare,
                false => Sent::ByStore,
            }
        }
        Err(error) => {
            assert_eq!(error.rejected_by(), Some(Policy::RateLimit), "{error}");
            Sent::Rejected
        }
    }
}

async fn calls(process: &StandardLayer, times: usize) -> Vec<Sent> {
    let mut ended = Vec::new();
    for _ in 0..times {
        ended.push(call(process).await);
    }
    ended
}

fn count(all: &[Sent], of: Sent) -> usize {
    all.iter().filter(|sent| **sent == of).count()
}

/// Runs a command.
async fn run(port: u16, words: &[&str]) -> Value {
    let client = Client::open(format!("redis://127.0.0.1:{port}/")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = cmd(words[0]);
    let command = command.arg(&words[1..]);
    command.query_async(&mut connection).await.unwrap()
}

/// Lets the pause after a failure of the store pass.
async fn advance() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn burst_of_two_processes_at_once_is_that_of_one_quota() {
    let Some(server) = Server::redis() else {
        return;
    };
    let mut tasks = JoinSet::new();
    for process in [(); 2].map(|()| process(server.port(), eight())) {
        for _ in 0..20 {
            let process = process.clone();
            tasks.spawn(async move { call(&process).await });
        }
    }
    let all = tasks.join_all().await;
    let counts = [Sent::ByStore, Sent::Rejected].map(|of| count(&all, of));
    assert_eq!(counts, [8, 32]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_two_processes_wait_for_the_slots_of_one_rate() {
    let Some(server) = Server::redis() else {
        return;
    };
    let even = RateLimitConfig::new(100).burst(4);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for process in [(); 2].map(|()| process(server.port(), even.clone())) {
        for _ in 0..12 {
            let process = process.clone();
            tasks.spawn(async move { (call(&process).await, start.elapsed()) });
        }
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(_, at)| *at);
    for (number, (sent, at)) in (0..).zip(all) {
        assert_eq!(sent, Sent::ByStore);
        let earliest = Duration::from_millis(10) * u32::saturating_sub(number + 1, 4);
        assert!(at >= earliest, "request {number} after {at:?}");
    }
}

#[tokio::test]
async fn calls_go_on_with_the_local_share_while_redis_is_away_and_share_again_later() {
    let Some(mut server) = Server::redis() else {
        return;
    };
    let [one, two] = [(); 2].map(|()| process(server.port(), eight()));
    assert_eq!(calls(&one, 3).await, [Sent::ByStore; 3]);

    server.kill();
    // The share is four an hour. Three of the first process are used up.
    let away = calls(&one, 3).await;
    assert_eq!(away, [Sent::ByLocalShare, Sent::Rejected, Sent::Rejected]);
    let away = calls(&two, 5).await;
    assert_eq!(
        (count(&away, Sent::ByLocalShare), away[4]),
        (4, Sent::Rejected)
    );

    server.start();
    advance().await;
    let back = [calls(&one, 3).await, calls(&two, 3).await].concat();
    let expected = [Sent::ByStore, Sent::Rejected].map(|of| count(&back, of));
    assert_eq!(expected, [5, 1], "Redis knows of three slots");
}

#[tokio::test]
async fn closed_connection_and_forgotten_script_are_noticed_by_no_call() {
    let Some(server) = Server::redis() else {
        return;
    };
    let process = process(server.port(), eight());
    assert_eq!(call(&process).await, Sent::ByStore);
    run(server.port(), &["SCRIPT", "FLUSH"]).await;
    assert_eq!(call(&process).await, Sent::ByStore);
    assert_eq!(kept(server.port()).await, Value::Int(1));
    assert_eq!(call(&process).await, Sent::ByStore);
}

#[tokio::test]
async fn bucket_is_one_key_that_shows_nothing_and_expires() {
    let Some(server) = Server::redis() else {
        return;
    };
    let process = process(server.port(), eight());
    call(&process).await;
    let keys = run(server.port(), &["KEYS", "*"]).await;
    let Value::Array(keys) = keys else {
        panic!("{keys:?}");
    };
    let [Value::BulkString(key)] = &*keys else {
        panic!("{keys:?}");
    };
    let key = std::str::from_utf8(key).unwrap();
    assert!(key.starts_with("test:") && !key.contains("api"), "{key}");
    let left = run(server.port(), &["PTTL", key]).await;
    // One of eight slots an hour is used.
    let Value::Int(left @ 1..=450_000) = left else {
        panic!("{left:?}");
    };
    assert!(left > 300_000, "{left}");

    // The key has a value of another program.
    run(server.port(), &["SET", key, "a text"]).await;
    assert_eq!(call(&process).await, Sent::ByLocalShare);
    let kept = run(server.port(), &["GET", key]).await;
    assert_eq!(kept, Value::BulkString(b"a text".to_vec()));
}

#[tokio::test]
async fn server_that_is_not_a_redis_is_a_store_that_is_away() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 64];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let process = process(port, eight());
    assert_eq!(calls(&process, 2).await, [Sent::ByLocalShare; 2]);
}

/// The connections that the processes of the test keep, all of which are closed by that.
async fn kept(port: u16) -> Value {
    let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    run(port, &kill).await
}

#[tokio::test]
async fn rate_that_is_raised_holds_at_once() {
    let Some(server) = Server::redis() else {
        return;
    };
    let slow = process(server.port(), eight());
    assert_eq!(count(&calls(&slow, 9).await, Sent::ByStore), 8);
    let fast = process(server.port(), RateLimitConfig::new(1_000).wait(false));
    assert_eq!(call(&fast).await, Sent::ByStore);
}

#[tokio::test]
async fn connection_to_a_replica_is_not_used_again() {
    let Some(server) = Server::redis() else {
        return;
    };
    let process = process(server.port(), eight());
    assert_eq!(call(&process).await, Sent::ByStore);
    run(server.port(), &["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(call(&process).await, Sent::ByLocalShare);
    assert_eq!(kept(server.port()).await, Value::Int(0));
}

#[tokio::test]
async fn call_that_is_dropped_early_leaves_the_connection_alone() {
    let Some(server) = Server::redis() else {
        return;
    };
    let process = process(server.port(), eight());
    assert_eq!(call(&process).await, Sent::ByStore);
    let before = accepted(server.port()).await;
    // However busy the machine is, the call is dropped at once.
    tokio::time::pause();
    let dropped = tokio::time::timeout(Duration::ZERO, call(&process));
    assert!(dropped.await.is_err());
    tokio::time::resume();
    assert_eq!(call(&process).await, Sent::ByStore);
    assert_eq!(accepted(server.port()).await, before + 1);
}

/// Returns how many connections the server has accepted, this one included.
async fn accepted(port: u16) -> u32 {
    let text = match run(port, &["INFO", "stats"]).await {
        Value::BulkString(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    };
    let accepted = text
        .lines()
        .find_map(|line| line.strip_prefix("total_connections_received:"));
    accepted.unwrap().parse().unwrap()
}
