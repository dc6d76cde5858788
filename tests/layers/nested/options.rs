//! Tests that an option that no stack can carry out fails the call, whatever layers there are.

use std::time::Duration;

use http::Method;
use http_body_util::{BodyExt, Full};
use sevenhops::policy::stale::StaleConfig;
use sevenhops::{Consistency, Options, StaleLayer};
use tower::{Layer, ServiceExt};

use super::demands::{call, refused};
use crate::mock::{Mock, optional, standard, status, steady};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(start_paused = true)]
async fn option_out_of_range_is_refused_with_its_value_and_range() {
    let table = [
        (
            Options::new().deadline(Duration::ZERO),
            "Options::deadline: 0ns is invalid: expected 10ms..=86400s",
        ),
        (
            Options::new().deadline(2 * DAY),
            "Options::deadline: 172800s is invalid: expected 10ms..=86400s",
        ),
        (
            Options::new().attempts(0),
            "Options::attempts: 0 is invalid: expected 1..=255",
        ),
        (
            Options::new().attempts(256),
            "Options::attempts: 256 is invalid: expected 1..=255",
        ),
        // A later value does not hide it.
        (
            Options::new().attempts(0).attempts(2),
            "Options::attempts: 0 is invalid",
        ),
    ];
    for (options, words) in table {
        let alone = Mock::new([status(200)]);
        let get = optional(Method::GET, options.clone());
        let error = standard(steady())
            .layer(alone.clone())
            .oneshot(get)
            .await
            .unwrap_err();
        refused(&error, &alone, &[words]);

        // The layer that begins the call has no attempt policy: the stack below refuses the request.
        let below = Mock::new([status(200)]);
        let service = call().layer(standard(steady()).layer(below.clone()));
        let error = service
            .oneshot(optional(Method::GET, options.clone()))
            .await
            .unwrap_err();
        refused(&error, &below, &[words]);

        // No layer has an attempt policy.
        let foreign = Mock::new([status(200)]);
        let service = call().layer(foreign.clone());
        let get = optional(Method::GET, options.clone());
        let error = service.oneshot(get).await.unwrap_err();
        refused(&error, &foreign, &[words]);
    }
}

#[tokio::test(start_paused = true)]
async fn option_out_of_range_is_refused_before_a_stored_response_is_served() {
    let minute = Duration::from_secs(60);
    let config = StaleConfig::new()
        .store_bytes(1 << 20)
        .consistency(Consistency::StaleFor(minute))
        .shared(false)
        .while_revalidate(minute);
    let mock = Mock::new([status(200)]);
    let service = StaleLayer::new(config).unwrap().layer(mock.clone());
    // A read without content.
    let get = |options| {
        let get = optional(Method::GET, options).map(|_| Full::default());
        service.clone().oneshot(get)
    };
    let first = get(Options::new()).await.unwrap();
    first.into_body().collect().await.unwrap();
    for options in [
        Options::new().deadline(Duration::ZERO),
        Options::new().attempts(0),
        Options::new().affinity(""),
    ] {
        let error = get(options).await.unwrap_err();
        assert_eq!(error.kind(), sevenhops::Kind::InvalidRequest, "{error}");
    }
    assert_eq!(mock.count(), 1);
}
