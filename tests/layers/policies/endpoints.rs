//! Tests endpoints over another stack of layers.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use sevenhops::policy::retry::{Backoff, Jitter};
use sevenhops::{
    Config, Effect, EndpointConfig, EndpointsConfig, IdempotencyConfig, IdempotencyKey, Operation,
    OperationError, Options, Policy, RateLimitConfig, RetryConfig, StandardLayer,
};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tower::{Layer, Service, ServiceExt};

use crate::mock::{Mock, Step, standard, status, steady, with};

fn two() -> EndpointsConfig {
    let [a, b] = ["https://a.test", "https://b.test"].map(EndpointConfig::new);
    EndpointsConfig::new().endpoint(a).endpoint(b.priority(1))
}

#[tokio::test(start_paused = true)]
async fn way_back_to_an_endpoint_that_throttles_waits_longer() {
    // A throttled request waits from a base of a second on.
    for (failed, is_long) in [(429, true), (503, false)] {
        let mock = Mock::new([status(failed)]);
        let backoff = Backoff::new().jitter(Jitter::None);
        let config = Config::new(Duration::from_secs(10))
            .endpoints("pay.internal", two())
            .retry(RetryConfig::new().backoff(backoff));
        let layer = StandardLayer::from_config(&config).unwrap();
        layer
            .breaker_handle()
            .isolate(&"https://b.test".parse().unwrap());
        let get = Request::get("https://pay.internal/v1").body(Full::default());
        let service = layer.layer(mock.clone());
        service.oneshot(get.unwrap()).await.unwrap();
        let asked = mock.asked();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[1].head.uri, "https://a.test/v1");
        let wait = asked[1].at - asked[0].at;
        assert_eq!(
            wait >= Duration::from_secs(1),
            is_long,
            "{failed}: {wait:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_below_passes_an_endpoint_over_only_if_nothing_was_sent() {
    for (first, effect, sent) in [
        // The inner stack sent the request, and the circuit of the redirect's target is open.
        (
            with(302, "location", "https://other.test/"),
            Effect::Possible,
            1,
        ),
        (status(200), Effect::Done, 1),
    ] {
        let is_redirect = effect == Effect::Possible;
        let mock = Mock::new([first]);
        let inner = standard(steady());
        let rejects = if is_redirect {
            "https://other.test"
        } else {
            "https://a.test"
        };
        inner.breaker_handle().isolate(&rejects.parse().unwrap());
        let config = Config::new(Duration::from_secs(10)).endpoints("pay.internal", two());
        let outer = StandardLayer::from_config(&config).unwrap();
        let service = outer.layer(inner.layer(mock.clone()));
        let post = Request::builder()
            .method(Method::POST)
            .uri("https://pay.internal/v1");
        let post = post.body(Full::from("amount=100")).unwrap();
        match service.oneshot(post).await {
            Err(error) => {
                assert_eq!(error.rejected_by(), Some(Policy::Breaker));
                assert_eq!(error.effect(), effect, "{error}");
            }
            Ok(response) => {
                assert_eq!(response.body().timeline().effect(), effect);
                assert_eq!(mock.asked()[0].head.uri, "https://b.test/v1");
            }
        }
        assert_eq!(mock.count(), sent);
    }
}

/// A service with room for one request. It reserves the room when it is ready.
struct Room {
    room: Arc<Mutex<()>>,
    held: Option<OwnedMutexGuard<()>>,
    mock: Mock,
}

impl Clone for Room {
    fn clone(&self) -> Self {
        Self {
            room: Arc::clone(&self.room),
            held: None,
            mock: self.mock.clone(),
        }
    }
}

impl Service<Request<Full<Bytes>>> for Room {
    type Response = <Mock as Service<Request<Full<Bytes>>>>::Response;
    type Error = <Mock as Service<Request<Full<Bytes>>>>::Error;
    type Future = <Mock as Service<Request<Full<Bytes>>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.held.is_none() {
            self.held = Arc::clone(&self.room).try_lock_owned().ok();
        }
        match self.held {
            Some(_) => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.held = None;
        self.mock.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_after_a_wait_frees_the_room_of_the_inner_service() {
    let mock = Mock::default();
    let inner = Room {
        room: Arc::default(),
        held: None,
        mock: mock.clone(),
    };
    let rate = RateLimitConfig::new(1).per(Duration::from_secs(1));
    let config = Config::new(Duration::from_secs(10)).endpoints("pay.internal", two());
    let layer = StandardLayer::from_config(&config.rate_limit(rate)).unwrap();
    let service = layer.layer(inner);
    let get = || {
        let get = Request::get("https://pay.internal/v1").body(Full::default());
        service.clone().oneshot(get.unwrap())
    };
    get().await.unwrap();
    let (waited, ()) = tokio::join!(get(), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let first = "https://a.test".parse().unwrap();
        layer.breaker_handle().isolate(&first);
    });
    waited.unwrap();
    let hosts: Vec<_> = mock
        .asked()
        .into_iter()
        .map(|asked| asked.head.uri)
        .collect();
    assert_eq!(hosts, ["https://a.test/v1", "https://b.test/v1"]);
}

#[tokio::test(start_paused = true)]
async fn retry_around_the_stack_stays_at_the_endpoint_that_had_the_request() {
    let key = || IdempotencyKey::new("order-4711").unwrap();
    for share_keys in [false, true] {
        let mut moved = 0;
        for _ in 0..20 {
            let lost = Step::Fail(std::io::ErrorKind::ConnectionReset);
            let mock = Mock::new([status(200), lost]);
            // Both have the same priority: each call chooses one of them at random.
            let [a, b] = ["https://a.test", "https://b.test"].map(EndpointConfig::new);
            let both = EndpointsConfig::new().endpoint(a).endpoint(b);
            let config = Config::new(Duration::from_secs(10))
                .idempotency(IdempotencyConfig::new().honored_by_all(true))
                .endpoints("pay.internal", both.share_keys(share_keys));
            let layer = StandardLayer::from_config(&config).unwrap();
            let pay = layer.layer(mock.clone());
            let operation = Operation::new("pay", Duration::from_secs(60)).unwrap();
            let operation = operation.idempotency_key(key());
            let done = operation.run(async |attempt| {
                let key = attempt.idempotency_key().clone();
                // A read may go to either of them, and says nothing about the write.
                let get = Request::get("https://pay.internal/v1/cart").body(Full::default());
                let read = pay.clone().oneshot(get.unwrap()).await;
                read.map_err(OperationError::from_error)?;
                let mut post = Request::post("https://pay.internal/v1")
                    .body(Full::from("amount=100"))
                    .unwrap();
                post.extensions_mut()
                    .insert(Options::new().idempotency_key(key));
                let sent = pay.clone().oneshot(post).await;
                sent.map(drop).map_err(OperationError::from_error)
            });
            done.await.unwrap();
            let asked = mock.asked();
            let posts: Vec<_> = asked
                .iter()
                .filter(|asked| asked.head.method == Method::POST)
                .map(|asked| &asked.head.uri)
                .collect();
            assert_eq!((asked.len(), posts.len()), (4, 2));
            moved += usize::from(posts[0] != posts[1]);
        }
        assert_eq!(moved > 0, share_keys, "{moved} of 20 went to the other one");
    }
}
