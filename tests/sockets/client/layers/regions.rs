//! A call layer that sends a request to a logical name again.

use http::StatusCode;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer};
use sevenhops::{Client, Effect, EndpointConfig, EndpointsConfig, IdempotencyConfig, RetryConfig};

use super::{UNAVAILABLE, once_more};
use crate::net::Net;

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
            let addresses = DnsScript::addresses([[127, 0, 0, 1].into()]);
            net.dns.set(name, addresses);
        }
        let (eu, us) = (FaultServer::start().await, FaultServer::start().await);
        let (eu, us) = (eu.unwrap(), us.unwrap());
        Self { net, eu, us }
    }

    /// Returns a client that makes one attempt, and whose call layer sends the request again after this status.
    fn client(&self, after: StatusCode, priority: u32) -> Client {
        let [eu, us] = [(&self.eu, "eu"), (&self.us, "us")]
            .map(|(server, region)| format!("http://{region}.test:{}", server.addr().port()));
        let endpoints = EndpointsConfig::new()
            .endpoint(EndpointConfig::new(eu))
            .endpoint(EndpointConfig::new(us).priority(priority));
        let builder = self.net.builder().config(|config| {
            config
                .endpoints("pay.internal", endpoints)
                .idempotency(IdempotencyConfig::new().honored_by_all(true))
                .retry(RetryConfig::new().attempts(1))
        });
        builder.call_layer(once_more(after)).build().unwrap()
    }
}

#[tokio::test]
async fn redirected_call_that_is_sent_again_keeps_its_key() {
    let regions = Regions::new().await;
    let client = regions.client(StatusCode::UNAUTHORIZED, 1);
    let seen = CannedResponse::new(StatusCode::SEE_OTHER).header("location", "/result");
    let expired = CannedResponse::new(StatusCode::UNAUTHORIZED);
    regions.eu.on_request([seen.into(), expired.into()]);
    let post = client.post("http://pay.internal/v1/charges").body("charge");
    assert_eq!(post.send().await.unwrap().status(), StatusCode::OK);
    let seen = regions.eu.requests();
    let key = |at: usize| seen[at].headers.get("idempotency-key");
    assert_eq!((seen[1].method.as_str(), key(1)), ("GET", None));
    assert_eq!(seen[2].method.as_str(), "POST");
    assert!(key(0).is_some() && key(2) == key(0));
    assert_eq!(regions.us.requests_seen(), 0);
}

#[tokio::test]
async fn call_that_is_sent_again_stays_where_it_may_have_had_an_effect() {
    let regions = Regions::new().await;
    let client = regions.client(UNAVAILABLE, 0);
    for server in [&regions.eu, &regions.us] {
        server.default_reply(CannedResponse::new(UNAVAILABLE));
    }
    // Without an earlier attempt, each request goes to one of the regions at random.
    for _ in 0..8 {
        let post = client.post("http://pay.internal/v1/charges").body("charge");
        let response = post.send().await.unwrap();
        let timeline = response.timeline().unwrap();
        let attempts = timeline.attempts().into_iter();
        let urls: Vec<_> = attempts
            .map(|attempt| attempt.url().map(str::to_owned))
            .collect();
        assert_eq!((urls.len(), timeline.effect()), (2, Effect::Possible));
        assert_eq!(urls[0], urls[1]);
    }
}
