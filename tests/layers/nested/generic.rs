//! Tests stacks over a service of any type, called without naming the type of a future.
//!
//! Both functions are type-checked before their service is known. That must stay cheap: it once took minutes, and users
//! had to box each stack.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use sevenhops::{
    AttemptLayer, CircuitBreakerLayer, DeadlineLayer, Effect, Error, IdempotencyLayer, Policy,
    RateLimitConfig, RateLimitLayer, RedirectConfig, RedirectLayer, RetryLayer, Timeouts,
};

use tower::{Layer, Service, ServiceExt, service_fn};

use crate::mock::{Mock, Step, request, standard, status, steady};

const DEADLINE: Duration = Duration::from_secs(10);

type Ask = Request<Full<Bytes>>;

/// Nests four standard stacks.
async fn four<L>(leaf: L) -> Result<StatusCode, Error>
where
    L: Service<Ask, Response = Response<Full<Bytes>>, Error = io::Error> + Clone,
{
    let layer = standard(steady());
    let service = layer.layer(layer.layer(layer.layer(layer.layer(leaf))));
    let response = service.oneshot(request(Method::GET)).await?;
    Ok(response.status())
}

/// Applies the six layers one by one.
async fn six<L>(leaf: L) -> Result<StatusCode, Error>
where
    L: Service<Ask, Response = Response<Full<Bytes>>, Error = io::Error> + Clone,
{
    let timeouts = Timeouts::new(DEADLINE).unwrap();
    let service = AttemptLayer::new(timeouts).layer(leaf);
    let service = CircuitBreakerLayer::new(timeouts).layer(service);
    let service = RetryLayer::new(steady()).unwrap().layer(service);
    let redirect = RedirectLayer::new(RedirectConfig::default()).unwrap();
    let service = redirect.layer(service);
    let service = IdempotencyLayer::default().layer(service);
    let service = DeadlineLayer::new(DEADLINE).unwrap().layer(service);
    let response = service.oneshot(request(Method::GET)).await?;
    Ok(response.status())
}

#[tokio::test(start_paused = true)]
async fn four_stacks_over_any_service_retry_as_one() {
    let mock = Mock::new([status(503), status(503)]);
    assert_eq!(four(mock.clone()).await.unwrap(), StatusCode::OK);
    assert_eq!(mock.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn six_layers_over_any_service_are_one_stack() {
    let mock = Mock::new([status(503), status(503)]);
    assert_eq!(six(mock.clone()).await.unwrap(), StatusCode::OK);
    assert_eq!(mock.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn layer_that_sends_again_does_not_hide_what_an_attempt_without_a_record_has_sent() {
    for first in [
        Step::Fail(io::ErrorKind::ConnectionReset),
        status(503),
        Step::Hang,
    ] {
        let mock = Mock::new([first]);
        // The second request is rejected: there is one a minute.
        let rate = RateLimitConfig::new(1)
            .per(Duration::from_secs(60))
            .wait(false);
        let inner = RateLimitLayer::new(rate).unwrap().layer(mock.clone());
        let twice = service_fn(move |request: Ask| {
            let mut inner = inner.clone();
            async move {
                let first = inner.ready().await?.call(request.clone());
                let _ = tokio::time::timeout(DEADLINE / 10, first).await;
                inner.ready().await?.call(request).await
            }
        });
        let service = DeadlineLayer::new(DEADLINE).unwrap().layer(twice);
        let error = service.oneshot(request(Method::POST)).await.unwrap_err();
        assert_eq!(error.rejected_by(), Some(Policy::RateLimit));
        assert_eq!((error.effect(), mock.count()), (Effect::Possible, 1));
    }
}
