use std::time::Duration;

use sevenhops::OperationConfig;
use sevenhops::{
    CircuitBreakerConfig, ConcurrencyConfig, Destination, Operation, OperationError, RetryConfig,
    StandardLayer, ThrottleConfig,
    policy::concurrency::Algorithm,
    policy::retry,
    telemetry::otel::Metrics,
    testing::{CannedResponse, FaultServer, Gate, Reply},
};

use tower::{Layer as _, ServiceExt};

use super::metrics::{client, collected, port, sdk, sum};
use crate::mock::{Mock, saying, status};
use crate::net::{Net, url};

#[tokio::test]
async fn exactly_one_circuit_state_is_one_and_no_series_remains() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    let trip = CircuitBreakerConfig::new().consecutive_failures(1);
    let builder = net
        .builder()
        .config(|config| config.circuit_breaker(trip))
        .metrics(&sdk().2);
    let (client, url) = (builder.build().unwrap(), url(&server, "http"));
    let origin = format!("http://api.test:{}", server.addr().port());
    let states = || {
        ["closed", "half_open", "open", "isolated"].map(|state| {
            let of = [
                ("sevenhops.destination", origin.as_str()),
                ("sevenhops.breaker.state", state),
            ];
            sum("sevenhops.breaker.state", &of)
        })
    };
    assert!(client.post(&url).send().await.is_err());
    assert_eq!(states(), [0, 0, 1, 0]);
    assert!(client.post(&url).send().await.is_err());
    let port = port(&server);
    let refused = [
        ("server.port", port.as_str()),
        ("sevenhops.policy", "breaker"),
    ];
    assert_eq!(sum("sevenhops.rejections", &refused), 1);
    client.breaker_handle().isolate(&origin.parse().unwrap());
    assert_eq!(states(), [0, 0, 0, 1]);
    drop(client);
    let shown = collected();
    let left = shown.iter().filter(|(name, series, _)| {
        name == "sevenhops.breaker.state" && series["sevenhops.destination"] == origin
    });
    assert_eq!(left.count(), 0, "a series of a client that is gone");
}

#[tokio::test]
async fn worst_state_is_shown_even_if_each_client_has_its_own_metrics() {
    let net = Net::new().await;
    let _ = sdk();
    let [one, other] = [(); 2].map(|()| net.builder().metrics(&Metrics::global()));
    let [one, other] = [one, other].map(|builder| builder.build().unwrap());
    let origin = "http://shared.test:81";
    one.breaker_handle().isolate(&origin.parse().unwrap());
    let _closed = other.breaker_handle().watch(&origin.parse().unwrap());
    for (state, is) in [("isolated", 1), ("closed", 0)] {
        let so = ("sevenhops.breaker.state", state);
        let here = ("sevenhops.destination", origin);
        assert_eq!(sum("sevenhops.breaker.state", &[here, so]), is, "{state}");
    }
}

#[tokio::test(start_paused = true)]
async fn circuit_and_budget_of_an_operation_are_shown() {
    let trip = CircuitBreakerConfig::new().consecutive_failures(1);
    let once = RetryConfig::new().attempts(1);
    let settings = OperationConfig::new(Duration::from_secs(10));
    let settings = settings.circuit_breaker(trip).retry(once);
    let ledger = Operation::from_config("ledger", settings).unwrap();
    let ledger = ledger.metrics(&sdk().2);
    let failing = ledger.run(async |_| Err::<(), _>(OperationError::unknown("it went away")));
    failing.await.unwrap_err();
    let here = ("sevenhops.destination", "ledger");
    for (state, is) in [("open", 1), ("closed", 0)] {
        let so = ("sevenhops.breaker.state", state);
        assert_eq!(sum("sevenhops.breaker.state", &[here, so]), is, "{state}");
    }
    let opened = ("sevenhops.breaker.event", "opened");
    assert_eq!(sum("sevenhops.breaker.events", &[here, opened]), 1);
    assert!(sum("sevenhops.budget.left", &[here]) > 0);
    let failed = ("sevenhops.outcome", "failed");
    assert_eq!(sum("sevenhops.call.duration", &[here, failed]), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn open_connections_are_counted_by_their_state() {
    let net = Net::new().await;
    for (server, scheme, most) in [
        (FaultServer::builder().start().await.unwrap(), "http", 2),
        (net.http2().await, "https", 1),
    ] {
        let (client, url) = (client(&net), url(&server, scheme));
        let port = port(&server);
        let open = || {
            ["active", "idle"].map(|state| {
                let of = [
                    ("server.port", port.as_str()),
                    ("http.connection.state", state),
                ];
                sum("http.client.open_connections", &of)
            })
        };
        client.get(&url).fetch_bytes().await.unwrap();
        until(|| open() == [0, 1]).await;
        let gate = Gate::new();
        server.default_reply(CannedResponse::json("1").hold(&gate));
        let [one, other] = [(); 2].map(|()| tokio::spawn(client.get(&url).fetch_bytes()));
        server.wait_until(|stats| stats.requests == 3).await;
        assert_eq!(open(), [most, 0], "{scheme}");
        gate.open();
        one.await.unwrap().unwrap();
        other.await.unwrap().unwrap();
        until(|| open() == [0, most]).await;
        server.close_connections();
        server.wait_until(|stats| stats.open_connections == 0).await;
        until(|| open() == [0, 0]).await;
    }
}

/// Waits until the client has noticed the end of a request or of a connection.
#[cfg(target_os = "linux")]
async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect("the gauge follows");
}

#[tokio::test(start_paused = true)]
async fn budget_gauge_shows_the_retries_left() {
    let tight = retry::Budget::new().ratio(0.0).min_retries_per_second(1);
    let settings =
        sevenhops::Config::new(Duration::from_secs(60)).retry(RetryConfig::new().budget(tight));
    let layer = StandardLayer::from_config(&settings)
        .unwrap()
        .metrics(&sdk().2);
    let mock = Mock::new([status(503), status(503), status(200)]);
    let get = http::Request::get("https://budget.test/").body(http_body_util::Full::default());
    let service = layer.layer(mock);
    service.oneshot(get.unwrap()).await.unwrap();
    let here = ("sevenhops.destination", "https://budget.test");
    assert_eq!(sum("sevenhops.budget.left", &[here]), 8);
}

#[tokio::test(start_paused = true)]
async fn limit_and_window_of_a_destination_are_shown() {
    let fixed = ConcurrencyConfig::new()
        .algorithm(Algorithm::Fixed)
        .limit(7);
    let config = sevenhops::Config::new(Duration::from_secs(60)).concurrency(fixed);
    let config = config.throttle(ThrottleConfig::new());
    let layer = StandardLayer::from_config(&config)
        .unwrap()
        .metrics(&sdk().2);
    let service = layer.layer(Mock::new([saying(200, "a body"), status(400)]));
    let get = || http::Request::get("https://load.test/").body(http_body_util::Full::default());
    let here = ("sevenhops.destination", "https://load.test");
    let shown = |metric: &str| sum(&format!("sevenhops.{metric}"), &[here]);
    let first = service.clone().oneshot(get().unwrap()).await.unwrap();
    assert_eq!(shown("concurrency.limit"), 7);
    assert_eq!(
        shown("concurrency.in_flight"),
        1,
        "the body is not received"
    );
    drop(first);
    drop(service.oneshot(get().unwrap()).await.unwrap());
    assert_eq!(shown("concurrency.in_flight"), 0);
    assert_eq!(shown("concurrency.queued"), 0);
    let window = ["throttle.requests", "throttle.accepts"].map(shown);
    assert_eq!(window, [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_stack_are_shown_once() {
    let fixed = ConcurrencyConfig::new()
        .algorithm(Algorithm::Fixed)
        .limit(7);
    let config = sevenhops::Config::new(Duration::from_secs(60)).concurrency(fixed);
    let layer = StandardLayer::from_config(&config).unwrap();
    let origin = "https://clones.test";
    for clone in [&layer; 2] {
        let service = clone.clone().metrics(&sdk().2);
        let service = service.layer(Mock::new([status(200)]));
        let get = http::Request::get(origin).body(http_body_util::Full::default());
        service.oneshot(get.unwrap()).await.unwrap();
    }
    layer.breaker_handle().isolate(&origin.parse().unwrap());

    let here = ("sevenhops.destination", origin);
    let isolated = ("sevenhops.breaker.event", "isolated");
    assert_eq!(sum("sevenhops.breaker.events", &[here, isolated]), 1);
    assert_eq!(sum("sevenhops.concurrency.limit", &[here]), 7);
}

#[tokio::test(start_paused = true)]
async fn events_of_the_clones_of_an_operation_are_counted_once() {
    let operation = Operation::new("copied", Duration::from_secs(10)).unwrap();
    let _clones = [&operation; 2].map(|clone| clone.clone().metrics(&sdk().2));
    let destination = Destination::named("copied");
    operation.breaker_handle().isolate(&destination);
    let here = ("sevenhops.destination", "copied");
    let isolated = ("sevenhops.breaker.event", "isolated");
    assert_eq!(sum("sevenhops.breaker.events", &[here, isolated]), 1);
}

#[tokio::test(start_paused = true)]
async fn budgets_that_are_shared_after_the_metrics_are_shown() {
    let new = || StandardLayer::new(Duration::from_secs(60)).unwrap();
    let budgets = new().budgets();
    let layer = new().metrics(&sdk().2).share_budgets(&budgets).unwrap();
    let service = layer.layer(Mock::new([status(200)]));
    let get = http::Request::get("https://later.test/").body(http_body_util::Full::default());
    service.oneshot(get.unwrap()).await.unwrap();
    let here = ("sevenhops.destination", "https://later.test");
    assert!(sum("sevenhops.budget.left", &[here]) > 0);
}
