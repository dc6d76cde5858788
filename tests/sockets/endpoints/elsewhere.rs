//! Facts of one endpoint that do not hold for another: hints, budgets, health, and the parts of a URL.

use http::header::LOCATION;
use http::{HeaderName, StatusCode};
use sevenhops::policy::retry::Budget;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Reply};
use sevenhops::{
    Client, Destination, DestinationConfig, Effect, Hop, IdempotencyConfig, Kind, Policy,
    RetryConfig,
};

use super::{Regions, URL, failovers, urls};
use crate::net::url;

fn busy() -> CannedResponse {
    CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE)
}

fn hinted() -> CannedResponse {
    busy().header("retry-after", "60")
}

#[tokio::test]
async fn hint_holds_for_the_region_that_sent_it_when_all_have_failed() {
    for (eu, us, expected) in [
        (hinted(), busy(), ["eu", "us", "us"]),
        (busy(), hinted(), ["eu", "us", "eu"]),
        (busy(), busy(), ["eu", "us", "eu"]),
    ] {
        let regions = Regions::new().await;
        regions.eu.on_request([eu.into()]);
        regions.us.on_request([us.into()]);
        let response = regions.client(false).get(URL).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(urls(response.timeline().unwrap()), expected);
    }
    let regions = Regions::new().await;
    for server in [&regions.eu, &regions.us] {
        server.default_reply(hinted());
    }
    let response = regions.client(false).get(URL).send().await.unwrap();
    assert_eq!(urls(response.timeline().unwrap()), ["eu", "us"]);
}

/// Returns how many retries the calls to both regions can afford.
fn left(client: &Client, regions: &Regions) -> [Option<i64>; 2] {
    [(&regions.eu, "eu"), (&regions.us, "us")].map(|(server, name)| {
        let origin = format!("http://{name}.test:{}", server.addr().port());
        let origin: Destination = origin.parse().unwrap();
        client.budgets().left(&origin)
    })
}

/// Each call to a region pays for one retry there.
fn one_for_each_call(regions: &Regions) -> Client {
    let budget = Budget::new().ratio(1.0).min_retries_per_second(0);
    let config = regions.config(false);
    regions.client_by(config.retry(RetryConfig::new().budget(budget)))
}

#[tokio::test]
async fn retry_is_paid_by_the_region_that_it_goes_to() {
    let regions = Regions::new().await;
    let client = one_for_each_call(&regions);
    regions.eu.on_request([busy().into(), busy().into()]);
    let unpaid = client.get(URL).send().await.unwrap();
    assert_eq!(unpaid.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(left(&client, &regions), [Some(1), Some(0)]);
    let us = format!("http://us.test:{}/v1", regions.us.addr().port());
    client.get(us).send().await.unwrap();
    assert_eq!(left(&client, &regions), [Some(1), Some(1)]);
    let paid = client.get(URL).send().await.unwrap();
    assert_eq!(urls(paid.timeline().unwrap()), ["eu", "us"]);
    assert_eq!(left(&client, &regions), [Some(2), Some(0)]);
}

#[tokio::test]
async fn call_that_passes_a_region_over_pays_in_where_it_goes() {
    let regions = Regions::new().await;
    let client = one_for_each_call(&regions);
    let eu = format!("http://eu.test:{}", regions.eu.addr().port());
    client
        .breaker_handle()
        .isolate(&eu.parse::<Destination>().unwrap());
    client.get(URL).send().await.unwrap();
    assert_eq!(regions.seen(), (0, 1));
    assert_eq!(left(&client, &regions), [Some(0), Some(1)]);
}

#[tokio::test]
async fn reload_keeps_the_health_of_regions() {
    let regions = Regions::new().await;
    let client = regions.client(false);
    let config = regions.config(true);
    regions.eu.stop().await;
    let get = || client.get(URL).send();
    assert_eq!(urls(get().await.unwrap().timeline().unwrap()), ["eu", "us"]);
    client.config_handle().reload(&config).unwrap();
    assert_eq!(urls(get().await.unwrap().timeline().unwrap()), ["us"]);
}

#[tokio::test]
async fn url_of_a_logical_name_with_a_part_that_no_region_honors_is_refused_by_name() {
    let regions = Regions::new().await;
    let client = regions.client(false);
    for (url, why) in [
        ("http://pay.internal:8443/v1", "has a port: leave it out"),
        ("http://user:s3cret@pay.internal/v1", "has userinfo: set"),
        (
            "https://pay.internal/v1",
            "is https, and its endpoints are http",
        ),
    ] {
        let error = client.post(url).send().await.unwrap_err();
        assert_eq!(
            (error.hop(), error.kind(), error.effect()),
            (Some(Hop::Encode), Kind::InvalidRequest, Effect::None)
        );
        let text = error.to_string();
        let expected = format!("the URL of the logical name pay.internal {why}");
        assert!(text.contains(&expected), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert_eq!(regions.seen(), (0, 0));
}

#[tokio::test]
async fn redirect_to_a_logical_name_goes_to_its_regions_and_fails_over() {
    let regions = Regions::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let to = |location| CannedResponse::new(StatusCode::FOUND).header(LOCATION.as_str(), location);
    server.on_request([
        to("http://pay.internal/v2?a=b").into(),
        to("http://pay.internal:8443/v2").into(),
    ]);
    regions.eu.on_request([busy().into()]);
    let client = regions.client(false);
    let get = || client.get(url(&server, "http")).bearer_auth("s3cret");
    let response = get().send().await.unwrap();
    let timeline = response.timeline().unwrap();
    let hosts: Vec<_> = timeline.attempts()[1..]
        .iter()
        .map(|attempt| attempt.url().unwrap()[7..9].to_owned())
        .collect();
    assert_eq!(
        (hosts, failovers(timeline)),
        (vec!["eu".into(), "us".into()], 1)
    );
    let seen = &regions.us.requests()[0];
    assert_eq!(seen.target, "/api/v2?a=b");
    assert!(!seen.headers.contains_key("authorization"));
    assert!(response.uri().to_string().starts_with("http://us.test"));

    let error = get().send().await.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::Redirect));
    assert!(
        error.to_string().contains("pay.internal has a port"),
        "{error}"
    );
    assert_eq!(regions.seen(), (1, 1));
}

#[tokio::test]
async fn key_that_only_one_region_honors_permits_no_copy_at_the_other() {
    let regions = Regions::new().await;
    regions.eu.on_request([Reply::CloseAfterRequest]);
    let eu = format!("http://eu.test:{}", regions.eu.addr().port());
    let honored = IdempotencyConfig::new().honored_by(eu.parse().unwrap());
    let config = regions.config(true).idempotency(honored);
    let client = regions.client_by(config);
    let response = client.post(URL).body("amount=100").send().await.unwrap();
    assert_eq!(urls(response.timeline().unwrap()), ["eu", "eu"]);
    assert_eq!(regions.seen(), (2, 0));
    // The request says that both honor it.
    regions.eu.on_request([Reply::CloseAfterRequest]);
    let said = client
        .post(URL)
        .options(|options| options.honors_idempotency_keys(true));
    let response = said.body("amount=100").send().await.unwrap();
    assert_eq!(urls(response.timeline().unwrap()), ["eu", "us"]);
}

#[tokio::test]
async fn key_permits_no_copy_at_a_region_whose_config_writes_it_in_another_way() {
    let of_us = || IdempotencyConfig::new().honored_by_all(true);
    let other = of_us().header(HeaderName::from_static("x-request-key"));
    // The config of the second region, whether keys are shared, the regions of the call, and whether the second one
    // gets a copy.
    for (us, share_keys, expected, is_copied) in [
        (other.clone(), false, &["eu", "us"][..], false),
        (of_us().quoted(true), false, &["eu", "us"], false),
        (of_us(), false, &["eu", "us"], true),
        (other, true, &["eu"], false),
        (of_us().quoted(true), true, &["eu"], false),
        (of_us(), true, &["eu", "us"], false),
    ] {
        let regions = Regions::new().await;
        let case = format!("{us:?} {share_keys}");
        let us = DestinationConfig::new().idempotency(us);
        let config = regions.config(share_keys).destination("us.test", us);
        let client = regions.client_by(config.idempotency(of_us()));
        // With keys in common, the request may have taken effect at the first region. Without, it was not sent there.
        regions.eu.default_reply(Reply::CloseAfterRequest);
        if !share_keys {
            // The server listens on another address.
            let closed = DnsScript::addresses([[127, 0, 0, 99].into()]);
            regions.net.dns.set("eu.test", closed);
        }
        regions.us.default_reply(Reply::CloseAfterRequest);
        let error = client.post(URL).body("amount=100").send().await;
        let error = error.unwrap_err();
        assert_eq!(error.effect(), Effect::Possible, "{case}");
        let mut urls = urls(error.timeline().unwrap());
        let at_us = urls.iter().filter(|at| *at == "us").count();
        assert_eq!(at_us > 1, is_copied, "{case}: {urls:?}");
        urls.dedup();
        assert_eq!(urls[..expected.len()], *expected, "{case}");
    }
}

#[tokio::test]
async fn region_whose_config_permits_no_further_attempt_gets_none() {
    let other: Destination = "https://other.test".parse().unwrap();
    for retry in [
        RetryConfig::new().attempts(1),
        RetryConfig::new().only_for(other),
    ] {
        let regions = Regions::new().await;
        regions.eu.on_request([busy().into()]);
        let us = DestinationConfig::new().retry(retry);
        let config = regions.config(false).destination("us.test", us);
        let response = regions.client_by(config).get(URL).send().await.unwrap();
        assert_eq!(urls(response.timeline().unwrap()), ["eu", "eu"]);
        assert_eq!(regions.seen(), (2, 0));
    }
}

fn to_eu(regions: &Regions) -> CannedResponse {
    let eu = format!("http://eu.test:{}/charges/", regions.eu.addr().port());
    CannedResponse::new(StatusCode::TEMPORARY_REDIRECT).header(LOCATION.as_str(), &eu)
}

#[tokio::test]
async fn redirect_to_the_same_region_stays_there() {
    let regions = Regions::new().await;
    let replies = [to_eu(&regions).into(), Reply::CloseAfterRequest];
    regions.eu.on_request(replies);
    let response = regions.client(false).get(URL).send().await.unwrap();
    let timeline = response.timeline().unwrap();
    assert_eq!(
        (urls(timeline), failovers(timeline)),
        (vec!["eu".into(); 3], 0)
    );
    assert_eq!(regions.eu.requests()[2].target, "/charges/");
}

#[tokio::test]
async fn region_that_fails_after_its_own_redirect_is_set_aside() {
    let regions = Regions::new().await;
    let once = RetryConfig::new().attempts(1);
    let client = regions.client_by(regions.config(false).retry(once));
    for _ in 0..3 {
        let replies = [to_eu(&regions).into(), Reply::CloseAfterRequest];
        regions.eu.on_request(replies);
        client.get(URL).send().await.unwrap_err();
    }
    let response = client.get(URL).send().await.unwrap();
    assert_eq!(urls(response.timeline().unwrap()), ["us"]);
}
