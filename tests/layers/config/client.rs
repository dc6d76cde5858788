//! The config of a client, on real sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use sevenhops::{
    Client, Config, Destination, DestinationConfig, RedirectConfig, RetryConfig,
    policy::breaker::{self, CircuitEventKind, CircuitState},
    testing::{CannedResponse, DnsScript, FaultServer, ScriptedDns},
};

const SECS: fn(u64) -> Duration = Duration::from_secs;

fn attempts(attempts: u32) -> RetryConfig {
    RetryConfig::new().attempts(attempts)
}

fn once() -> DestinationConfig {
    DestinationConfig::new().retry(attempts(1))
}

#[tokio::test]
async fn client_uses_the_part_of_a_host_and_a_new_config() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
    let host = server.url("").replace("http://", "");
    let settings = Config::new(SECS(10)).retry(attempts(2));
    let client = Client::builder_from_config(settings.clone())
        .config(|config| config.destination(&*host, once()))
        .build()
        .unwrap();
    let clone = client.clone();
    let url = server.url("/");
    client.get(url.as_str()).send().await.unwrap();
    assert_eq!(server.requests_seen(), 1, "{host}");

    client.config_handle().reload(&settings).unwrap();
    clone.get(url.as_str()).send().await.unwrap();
    assert_eq!(server.requests_seen(), 1 + 2);

    let by_route = settings.clone().destination("/v1", once());
    client.config_handle().reload(&by_route).unwrap();
    clone
        .get(url.as_str())
        .options(|options| options.route("/v1"))
        .send()
        .await
        .unwrap();
    assert_eq!(server.requests_seen(), 3 + 1);

    let bad = Config::new(SECS(0));
    let refused = clone.config_handle().reload(&bad).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "deadline: 0ns is invalid: expected 10ms..=86400s"
    );
    assert_eq!(client.config_handle().current(), by_route);
}

#[tokio::test]
async fn fetch_error_says_that_the_part_disabled_redirects() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::FOUND).header("location", "/a"));
    let host = server.url("").replace("http://", "");
    let off = DestinationConfig::new().redirect(RedirectConfig::new().enabled(false));
    let client = Client::builder(SECS(10))
        .config(|config| config.destination(host, off))
        .build()
        .unwrap();
    let error = client.get(server.url("/")).fetch_bytes().await.unwrap_err();
    assert!(
        error.to_string().contains("redirects are switched off"),
        "{error}"
    );
    assert_eq!(server.requests_seen(), 1);
}

#[tokio::test]
async fn connections_wait_for_the_longest_timeout_of_all_parts() {
    let server = FaultServer::start().await.unwrap();
    // A part has a limit of minutes, and no socket option refuses it.
    let patient = DestinationConfig::new().deadline(SECS(3_600));
    let settings = Config::new(SECS(1)).destination("*.patient.test", patient);
    let client = Client::builder_from_config(settings).build().unwrap();
    assert!(client.get(server.url("/")).send().await.is_ok());
}

#[tokio::test]
async fn new_config_keeps_the_connections_and_the_answers_of_dns() {
    let dns = ScriptedDns::start().await.unwrap();
    dns.set("api.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
    let server = FaultServer::start().await.unwrap();
    let client =
        Client::builder(SECS(10)).transport(|transport| transport.resolver(dns.resolver()));
    let client = client.build().unwrap();
    let url = format!("http://api.test:{}/", server.addr().port());
    client.get(&url).fetch_bytes().await.unwrap();
    let queries = dns.queries_for("api.test");
    for deadline in [SECS(5), SECS(20)] {
        let settings = Config::new(deadline).retry(attempts(2));
        client.config_handle().reload(&settings).unwrap();
        client.get(&url).fetch_bytes().await.unwrap();
    }
    assert_eq!((server.requests_seen(), server.connections()), (3, 1));
    assert_eq!(dns.queries_for("api.test"), queries);
}

#[tokio::test]
async fn tenants_of_a_client_have_circuits_and_budgets_of_their_own() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let client = Client::builder(SECS(10))
        .config(|config| {
            config
                .retry(attempts(2))
                .circuit_breaker(breaker::CircuitBreakerConfig::new().consecutive_failures(2))
        })
        .key_by(|_, _, headers| {
            let tenant = headers.get("x-tenant")?.to_str().ok()?;
            Some(Destination::named(tenant.to_owned()))
        })
        .on_breaker_event(move |event| {
            let event = (event.destination().clone(), event.kind());
            seen.lock().unwrap().push(event);
        });
    let client = client.build().unwrap();
    let server = FaultServer::start().await.unwrap();
    let ask = |tenant| client.get(server.url("/")).header("x-tenant", tenant);
    ask("good").send().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::INTERNAL_SERVER_ERROR));
    let _ = ask("bad").send().await;
    let [good, bad] = ["good", "bad"].map(Destination::named);
    let state = |tenant| client.breaker_handle().state(tenant);
    assert_eq!(
        (state(&good), state(&bad)),
        (CircuitState::Closed, CircuitState::Open)
    );
    assert_eq!(
        *events.lock().unwrap(),
        [(bad.clone(), CircuitEventKind::Opened)]
    );
    let left = |tenant| client.budgets().left(tenant).unwrap();
    assert!(left(&bad) < left(&good));
}
