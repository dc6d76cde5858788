//! One logical name with two regions: which one a call goes to, and when it fails over.

use std::time::Duration;

use http::StatusCode;
use sevenhops::hop::TimelineEventKind;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Reply};
use sevenhops::{
    Body, Client, Config, Destination, Effect, EndpointConfig, EndpointsConfig, IdempotencyConfig,
    Timeline,
};

use crate::net::Net;

mod elsewhere;

/// Two regions, each a server behind a name of its own.
struct Regions {
    net: Net,
    eu: FaultServer,
    us: FaultServer,
}

impl Regions {
    async fn new() -> Self {
        let net = Net::new().await;
        for name in ["eu.test", "us.test"] {
            net.dns
                .set(name, DnsScript::addresses([[127, 0, 0, 1].into()]));
        }
        let start = || FaultServer::builder().start();
        let (eu, us) = (start().await.unwrap(), start().await.unwrap());
        Self { net, eu, us }
    }

    /// Returns a client for which the first region comes first.
    fn client(&self, share_keys: bool) -> Client {
        self.client_by(self.config(share_keys))
    }

    fn config(&self, share_keys: bool) -> Config {
        let [eu, us] = [(&self.eu, "eu"), (&self.us, "us")]
            .map(|(server, region)| format!("http://{region}.test:{}", server.addr().port()));
        let endpoints = EndpointsConfig::new()
            .endpoint(EndpointConfig::new(eu))
            .endpoint(EndpointConfig::new(us + "/api").priority(1))
            .share_keys(share_keys);
        Config::new(Duration::from_secs(10))
            .endpoints("pay.internal", endpoints)
            .idempotency(IdempotencyConfig::new().honored_by_all(true))
    }

    fn client_by(&self, config: Config) -> Client {
        let resolver = self.net.dns.resolver();
        let client = Client::builder_from_config(config);
        let client = client.transport(|transport| transport.resolver(resolver));
        client.build().unwrap()
    }

    fn seen(&self) -> (usize, usize) {
        (self.eu.requests_seen(), self.us.requests_seen())
    }
}

const URL: &str = "http://pay.internal/v1/charges?a=b";

fn urls(timeline: &Timeline) -> Vec<String> {
    let attempts = timeline.attempts().into_iter();
    let hosts = attempts.map(|attempt| attempt.url().unwrap()[7..9].to_owned());
    hosts.collect()
}

fn failovers(timeline: &Timeline) -> usize {
    let events = timeline.events().into_iter();
    let failed_over =
        |kind: &TimelineEventKind| matches!(kind, TimelineEventKind::FailedOver { .. });
    events.filter(|event| failed_over(&event.kind)).count()
}

#[tokio::test]
async fn request_that_was_not_sent_goes_to_the_next_region_and_later_ones_go_there_at_once() {
    let regions = Regions::new().await;
    let client = regions.client(false);
    let Regions { eu, us, .. } = regions;
    eu.stop().await;
    let post = || client.post(URL).body("amount=100").send();
    let response = post().await.unwrap();
    let timeline = response.timeline().unwrap();
    assert_eq!(
        (urls(timeline), failovers(timeline)),
        (vec!["eu".into(), "us".into()], 1)
    );
    assert!(
        timeline
            .to_string()
            .contains("failed over to http://us.test"),
        "{timeline}"
    );
    assert!(
        timeline
            .to_string()
            .starts_with("POST http://pay.internal/v1/charges")
    );
    assert!(response.uri().to_string().starts_with("http://us.test"));
    let seen = &us.requests()[0];
    assert_eq!(
        (&*seen.target, &seen.body[..]),
        ("/api/v1/charges?a=b", &b"amount=100"[..])
    );
    assert!(
        seen.headers["host"]
            .to_str()
            .unwrap()
            .starts_with("us.test")
    );
    let next = post().await.unwrap();
    assert_eq!(urls(next.timeline().unwrap()), ["us"]);
    assert_ne!(
        us.requests()[0].headers["idempotency-key"],
        us.requests()[1].headers["idempotency-key"]
    );
}

#[tokio::test]
async fn lost_response_fails_over_only_if_the_regions_share_their_keys() {
    for (share_keys, expected) in [(false, ["eu", "eu"]), (true, ["eu", "us"])] {
        let regions = Regions::new().await;
        regions.eu.on_request([Reply::CloseAfterRequest]);
        let client = regions.client(share_keys);
        let response = client.post(URL).body("amount=100").send().await.unwrap();
        let timeline = response.timeline().unwrap();
        assert_eq!(urls(timeline), expected, "{share_keys}");
        let mut seen = regions.eu.requests();
        seen.extend(regions.us.requests());
        let keys: Vec<_> = seen
            .iter()
            .map(|seen| &seen.headers["idempotency-key"])
            .collect();
        assert_eq!(keys[0], keys[1], "one key");
    }
}

#[tokio::test]
async fn request_that_is_not_safe_to_repeat_stays_where_it_was() {
    let regions = Regions::new().await;
    regions.eu.on_request([Reply::CloseAfterRequest]);
    let post = regions
        .client(true)
        .post(URL)
        .options(|options| options.honors_idempotency_keys(false));
    let error = post.body("amount=100").send().await.unwrap_err();
    assert_eq!((error.effect(), regions.seen()), (Effect::Possible, (1, 0)));
}

#[tokio::test]
async fn hint_of_one_region_does_not_delay_the_other() {
    let regions = Regions::new().await;
    let busy = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).header("retry-after", "60");
    regions.eu.default_reply(busy);
    let began = tokio::time::Instant::now();
    let response = regions.client(false).get(URL).send().await.unwrap();
    assert_eq!(
        (response.status(), regions.seen()),
        (StatusCode::OK, (1, 1))
    );
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn region_whose_circuit_is_open_is_passed_over_without_an_attempt() {
    let regions = Regions::new().await;
    let client = regions.client(false);
    let eu = format!("http://eu.test:{}", regions.eu.addr().port());
    client
        .breaker_handle()
        .isolate(&eu.parse::<Destination>().unwrap());
    let response = client.post(URL).body("amount=100").send().await.unwrap();
    let timeline = response.timeline().unwrap();
    assert_eq!(
        (urls(timeline), failovers(timeline)),
        (vec!["us".to_owned()], 1)
    );
    let once = client
        .post(URL)
        .options(|options| options.retry(false))
        .send()
        .await
        .unwrap_err();
    assert_eq!((once.effect(), regions.seen()), (Effect::None, (0, 1)));
}

#[tokio::test]
async fn open_circuit_of_one_region_costs_no_retry_at_the_other() {
    // The region whose circuit is open, and whether the other one recovers.
    for (open, recovers) in [("us", true), ("eu", true), ("us", false)] {
        let regions = Regions::new().await;
        let client = regions.client(false);
        let (closed, server, ill) = match open {
            "us" => ("eu", &regions.eu, &regions.us),
            _ => ("us", &regions.us, &regions.eu),
        };
        let ill = format!("http://{open}.test:{}", ill.addr().port());
        client
            .breaker_handle()
            .isolate(&ill.parse::<Destination>().unwrap());
        let busy = || CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE);
        match recovers {
            true => server.on_request([busy().into(), busy().into()]),
            false => server.default_reply(busy()),
        }
        let response = client.get(URL).send().await.unwrap();
        assert_eq!(response.status() == StatusCode::OK, recovers, "{open}");
        let seen = urls(response.timeline().unwrap());
        assert_eq!(seen, [closed; 3], "{open} {recovers}");
    }
}

#[tokio::test]
async fn outage_of_both_regions_is_the_last_failure_after_the_configured_attempts() {
    let regions = Regions::new().await;
    for server in [&regions.eu, &regions.us] {
        server.default_reply(CannedResponse::new(StatusCode::INTERNAL_SERVER_ERROR));
    }
    let get = regions.client(false).get(URL);
    let error = get
        .options(|options| options.retry_statuses([StatusCode::INTERNAL_SERVER_ERROR]))
        .fetch_bytes()
        .await;
    let error = error.unwrap_err();
    assert_eq!(urls(error.timeline().unwrap()), ["eu", "us", "eu"]);
    assert_eq!((error.attempts(), regions.seen()), (3, (2, 1)));
}

#[tokio::test]
async fn other_hosts_are_no_logical_names() {
    let regions = Regions::new().await;
    let url = format!("http://us.test:{}/v1", regions.us.addr().port());
    let response = regions.client(false).get(url).send().await.unwrap();
    assert_eq!(response.timeline().unwrap().attempts()[0].url(), None);
    assert_eq!(regions.us.requests()[0].target, "/v1");
}

#[tokio::test]
async fn region_that_is_not_known_to_honor_keys_gets_no_second_copy() {
    let Regions { net, eu, us } = Regions::new().await;
    let [eu_url, us_url] = [(&eu, "eu"), (&us, "us")]
        .map(|(server, region)| format!("http://{region}.test:{}", server.addr().port()));
    let endpoints = EndpointsConfig::new()
        .endpoint(EndpointConfig::new(&eu_url))
        .endpoint(EndpointConfig::new(us_url).priority(1));
    let honored = IdempotencyConfig::new().honored_by(eu_url.parse().unwrap());
    let client = net
        .builder()
        .config(|config| config.endpoints("pay.internal", endpoints));
    let client = client
        .config(|config| config.idempotency(honored))
        .build()
        .unwrap();
    us.on_request([Reply::CloseAfterRequest]);
    eu.stop().await;
    let post = client.post(URL).body("amount=100").send();
    let error = post.await.unwrap_err();
    assert_eq!(
        (error.effect(), us.requests_seen()),
        (Effect::Possible, 1),
        "{error}"
    );
}

#[tokio::test]
async fn body_that_can_be_sent_once_goes_to_the_region_whose_circuit_is_closed() {
    let regions = Regions::new().await;
    let client = regions.client(false);
    let eu = format!("http://eu.test:{}", regions.eu.addr().port());
    client.breaker_handle().isolate(&eu.parse().unwrap());
    let body = Body::wrap(http_body_util::Full::new(bytes::Bytes::from("a file")));
    let response = client.post(URL).body(body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(regions.seen(), (0, 1));
    assert_eq!(regions.us.requests()[0].body, "a file");
}
