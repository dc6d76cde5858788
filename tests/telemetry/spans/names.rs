//! Every name that a span or an event has, against the table of names.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sevenhops::chaos::ChaosConfig;
use sevenhops::chaos::{ChaosLayer, Fault};
use sevenhops::policy::concurrency::Algorithm;
use sevenhops::policy::rate_limit::{
    RateLimitStore, SharedRateLimit, SharedRateLimitConfig, SlotRequest, StoreFuture,
};
use sevenhops::telemetry::{EVENTS, SPANS};
use sevenhops::testing::{
    CannedResponse, ClosedPort, DnsScript, FaultServer, Reply, ScriptedDns, TestCa,
};
use sevenhops::{
    CircuitBreakerConfig, Client, ConcurrencyConfig, ConcurrencyLayer, HedgeConfig, HedgeLayer,
    Operation, RateLimitConfig, RateLimitLayer,
};
use sevenhops::{Consistency, EndpointConfig, EndpointsConfig, StaleConfig};
use tower::{Layer as _, ServiceExt, service_fn};
use tracing::Subscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, SubscriberExt};

use super::Fields;

/// The promised names, and the spans and events that were seen.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<BTreeSet<Said>>>);

/// A name and its fields.
type Said = (&'static str, Vec<&'static str>);

impl Names {
    fn keep(&self, name: &'static str, metadata: &tracing::Metadata<'static>) {
        if metadata.target() == "sevenhops" {
            let mut fields: Vec<_> = metadata.fields().iter().map(|f| f.name()).collect();
            fields.retain(|field| *field != "message");
            fields.sort_unstable();
            self.0.lock().unwrap().insert((name, fields));
        }
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Names {
    fn on_new_span(&self, attributes: &Attributes<'_>, _id: &Id, _cx: Context<'_, S>) {
        self.keep(attributes.metadata().name(), attributes.metadata());
    }

    fn on_event(&self, event: &tracing::Event<'_>, _cx: Context<'_, S>) {
        if event.metadata().target() != "sevenhops" {
            return;
        }
        let mut said = Fields::default();
        event.record(&mut said);
        let known = EVENTS.iter().map(|event| event.name);
        let name = known.into_iter().find(|name| said.0["message"] == *name);
        self.keep(name.expect("an event of the table"), event.metadata());
    }
}

#[tokio::test]
async fn emitted_names_are_those_of_the_table() {
    let names = Names::default();
    let subscriber = tracing_subscriber::registry().with(names.clone());
    let _guard = crate::listen::listen(subscriber);
    let dns = ScriptedDns::start().await.unwrap();
    let home = [127, 0, 0, 1].into();
    dns.set("api.test", DnsScript::addresses([home]));
    dns.set(
        "two.test",
        DnsScript::addresses([home, [127, 0, 0, 2].into()]),
    );
    let authority = TestCa::new().unwrap();
    let identity = authority.issue(&["api.test", "two.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    let resolver = dns.resolver_builder().ttl_floor(Duration::ZERO);
    let resolver = resolver.ttl_ceiling(Duration::from_nanos(1));
    let trip = CircuitBreakerConfig::new().consecutive_failures(2);
    let chaos = ChaosLayer::new(ChaosConfig::new(0)).unwrap();
    let client = Client::builder(Duration::from_secs(10))
        .config(|config| config.circuit_breaker(trip))
        .transport(|transport| {
            transport
                .tls(authority.client_config())
                .resolver(resolver.build().unwrap())
                .chaos(chaos.clone())
        })
        .build()
        .unwrap();
    let url = format!("https://api.test:{}/", server.addr().port());
    let unavailable = CannedResponse::new(http::StatusCode::SERVICE_UNAVAILABLE);
    let found =
        CannedResponse::new(http::StatusCode::TEMPORARY_REDIRECT).header("location", "/near");
    let replayed = CannedResponse::json("1").header("idempotent-replayed", "true");
    server.on_request([unavailable.into(), found.into(), replayed.into()]);
    let post = client.put(&url).json(&1).fetch_json::<u8>();
    post.await.unwrap();
    chaos.enqueue([Fault::RefuseConnect]).unwrap();
    client.get(&url).send().await.unwrap();
    dns.set("api.test", DnsScript::ServFail);
    server.on_request([Reply::CloseAfterRequest, Reply::CloseAfterRequest]);
    for _ in 0..3 {
        client.post(&url).send().await.unwrap_err();
    }
    server.default_reply(CannedResponse::new(http::StatusCode::INTERNAL_SERVER_ERROR));
    client.breaker_handle().observe_only(true);
    let two = url.replace("api.test", "two.test");
    for _ in 0..12 {
        client.post(&two).send().await.unwrap();
    }
    retry_above(&client, &authority, &two).await;
    let tls = authority.client_config();
    let available = Client::builder(Duration::from_secs(10))
        .transport(|transport| transport.tls(tls).resolver(dns.resolver()));
    stand_in(available, &server, &two).await;
    move_on(dns.resolver()).await;
    let operation = Operation::new("orders", Duration::from_secs(10)).unwrap();
    operation.run(async |_| Ok(())).await.unwrap();
    hedge(&[http::Method::GET, http::Method::POST]).await;
    queue().await;
    lose_store().await;
    let said = names.0.lock().unwrap().clone();
    let sorted = |fields: &[&'static str]| {
        let mut fields = fields.to_vec();
        fields.sort_unstable();
        fields
    };
    let spans = SPANS.iter().map(|span| (span.name, sorted(span.fields)));
    let events = EVENTS
        .iter()
        .map(|event| (event.name, sorted(event.fields)));
    assert_eq!(said, spans.chain(events).collect());
}

/// Makes two calls, of which one waits for the permit of the other.
async fn queue() {
    let one = ConcurrencyConfig::new()
        .algorithm(Algorithm::Fixed)
        .limit(1);
    let slow = service_fn(async |_request: http::Request<String>| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok::<_, std::io::Error>(http::Response::new(String::new()))
    });
    let service = ConcurrencyLayer::new(one).unwrap().layer(slow);
    let call = || async {
        let get = http::Request::get("https://queue.test").body(String::new());
        service.clone().oneshot(get.unwrap()).await.map(drop)
    };
    tokio::try_join!(call(), call()).unwrap();
}

/// Makes a call whose rate limit has a store that fails.
async fn lose_store() {
    let config = SharedRateLimitConfig::new(2);
    let limit = SharedRateLimit::new(Down, config).unwrap();
    let layer = RateLimitLayer::new(RateLimitConfig::new(1)).unwrap();
    let service = layer.share_rate_limit(&limit).layer(service_fn(
        async |_request: http::Request<String>| {
            Ok::<_, std::io::Error>(http::Response::new(String::new()))
        },
    ));
    let get = http::Request::get("https://shared.test").body(String::new());
    service.oneshot(get.unwrap()).await.unwrap();
}

#[derive(Debug)]
struct Down;

impl RateLimitStore for Down {
    fn reserve<'a>(&'a self, _request: &'a SlotRequest) -> StoreFuture<'a> {
        Box::pin(async { Err("connection refused".into()) })
    }
}

/// Makes calls that are slow enough for a hedge.
async fn hedge(methods: &[http::Method]) {
    let delay = HedgeConfig::new().delay(Duration::from_millis(1));
    let slow = service_fn(async |_request: http::Request<String>| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, std::io::Error>(http::Response::new(String::new()))
    });
    let service = HedgeLayer::new(delay).unwrap().layer(slow);
    for method in methods {
        let request = http::Request::builder().method(method);
        let request = request.uri("https://slow.test").body(String::new());
        service.clone().oneshot(request.unwrap()).await.unwrap();
    }
}

/// Makes a call in two tries of the caller's.
async fn retry_above(client: &Client, authority: &TestCa, url: &str) {
    let bare = reqwest::Client::builder().tls_backend_preconfigured(authority.client_config());
    let retried = reqwest_middleware::ClientBuilder::new(bare.build().unwrap())
        .with(client.clone())
        .build();
    let mut shared = http::Extensions::new();
    for _ in 0..2 {
        let charge = retried.post(url).build().unwrap();
        let charge = retried.execute_with_extensions(charge, &mut shared);
        charge.await.unwrap();
    }
}

/// Makes calls whose failures a stale response and a fallback stand in for.
async fn stand_in(builder: sevenhops::ClientBuilder, server: &FaultServer, url: &str) {
    let client = builder
        .config(|config| config.stale(StaleConfig::new().store_bytes(1 << 20)))
        .fallback(|_| std::future::ready(Some(http::Response::new("a default".into()))))
        .build()
        .unwrap();
    server.on_request([CannedResponse::json("1").into()]);
    let minute = Consistency::StaleFor(Duration::from_secs(60));
    for consistency in [minute, minute, Consistency::Refuse] {
        let get = client
            .get(url)
            .options(|options| options.retry(false).consistency(consistency));
        get.send().await.unwrap().bytes().await.unwrap();
    }
}

/// Makes calls that leave the address of their session, and one that leaves its endpoint.
async fn move_on(resolver: sevenhops::dns::Resolver) {
    let server = FaultServer::builder().start().await.unwrap();
    let closed = ClosedPort::new().unwrap();
    let urls =
        [closed.addr(), server.addr()].map(|addr| format!("http://two.test:{}", addr.port()));
    let endpoints = EndpointsConfig::new()
        .endpoint(EndpointConfig::new(&urls[0]))
        .endpoint(EndpointConfig::new(&urls[1]).priority(1));
    let client = Client::builder(Duration::from_secs(10))
        .transport(|transport| transport.resolver(resolver))
        .config(|config| config.endpoints("pay.internal", endpoints))
        .build()
        .unwrap();
    // Half of the sessions belong to the address at which no server listens.
    for session in 0..16_u8 {
        let get = client
            .get(&urls[1])
            .options(|options| options.affinity([session]));
        get.send().await.unwrap();
    }
    client.get("http://pay.internal/").send().await.unwrap();
}
