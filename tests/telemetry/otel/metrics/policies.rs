//! The metrics of policies.

use std::io::ErrorKind;
use std::time::Duration;

use sevenhops::{
    Config, Consistency, HedgeConfig, Options, RetryConfig, StaleConfig, StandardLayer,
};
use tower::{Layer as _, ServiceExt};

use super::{sdk, sum};
use crate::mock::{Mock, Step, status};

#[tokio::test(start_paused = true)]
async fn hedges_are_counted_by_what_became_of_them_and_not_as_retries() {
    let delay = HedgeConfig::new().delay(Duration::from_millis(50));
    let config = Config::new(Duration::from_secs(10)).hedge(delay);
    let layer = StandardLayer::from_config(&config)
        .unwrap()
        .metrics(&sdk().2);
    let slow = || Step::FailAfter(Duration::from_millis(80));
    // (replies to GET, outcome of the hedge)
    for (steps, outcome) in [
        (vec![slow(), status(200)], "responded"),
        (
            vec![slow(), Step::Fail(ErrorKind::ConnectionReset)],
            "failed",
        ),
        (
            vec![Step::AnswerAfter(Duration::from_millis(80)), Step::Hang],
            "lost",
        ),
    ] {
        let host = ("server.address", "hedged.test");
        let so = [host, ("sevenhops.outcome", outcome)];
        let hedges = |labels: &[_]| sum("sevenhops.call.hedges", labels);
        let before = hedges(&so);
        let get = http::Request::get("https://hedged.test").body(http_body_util::Full::default());
        let service = layer.layer(Mock::new(steps));
        service.oneshot(get.unwrap()).await.unwrap();
        assert_eq!(hedges(&so), before + 1, "{outcome}");
    }
    let post = http::Request::post("https://hedged.test").body(http_body_util::Full::default());
    let mock = Mock::new([Step::AnswerAfter(Duration::from_millis(80))]);
    layer.layer(mock).oneshot(post.unwrap()).await.unwrap();
    let why = [
        ("server.address", "hedged.test"),
        ("sevenhops.no_retry_reason", "not_idempotent"),
    ];
    assert_eq!(sum("sevenhops.call.not_hedged", &why), 1);
    let host = [("server.address", "hedged.test")];
    // Only the call whose two attempts failed was retried.
    let retries = sum("sevenhops.call.retries", &host); // words:allow term: a metric
    assert_eq!(retries, 1);
}

#[tokio::test(start_paused = true)]
async fn age_of_a_stale_response_and_a_fallback_are_recorded() {
    let stale = StaleConfig::new().store_bytes(1 << 20);
    let config = Config::new(Duration::from_secs(10)).retry(RetryConfig::new().attempts(1));
    let layer = StandardLayer::from_config(&config.stale(stale)).unwrap();
    let layer = layer.fallback(|_| std::future::ready(Some(http::Response::default())));
    let service = layer
        .metrics(&sdk().2)
        .layer(Mock::new([200, 500, 503].map(status)));
    let minute = Consistency::StaleFor(Duration::from_secs(60));
    for consistency in [minute, minute, Consistency::Refuse] {
        let mut get = http::Request::get("https://window.test/")
            .body(http_body_util::Full::default())
            .unwrap();
        get.extensions_mut()
            .insert(Options::new().consistency(consistency));
        let response = service.clone().oneshot(get).await.unwrap();
        http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap();
    }
    let here = ("server.address", "window.test");
    let failed = |code| [here, ("error.type", code)];
    assert_eq!(sum("sevenhops.stale.age", &failed("500")), 1);
    assert_eq!(sum("sevenhops.call.fallbacks", &failed("503")), 1);
    // The caller has a response, and the failure is counted nevertheless.
    for code in ["500", "503"] {
        let failed = [here, ("error.type", code), ("sevenhops.hop", "server")];
        assert_eq!(sum("sevenhops.call.effect_possible", &failed), 1);
    }
    assert_eq!(sum("sevenhops.call.not_retried", &[here]), 2);
    let responded = [here, ("sevenhops.outcome", "responded")];
    assert_eq!(sum("sevenhops.call.duration", &responded), 3);
}
