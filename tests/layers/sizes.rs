//! The sizes of futures. A call in flight keeps them in memory, so a larger one is a cost that no other test shows.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use sevenhops::{
    AttemptLayer, Client, RetryConfig, RetryLayer, StandardLayer, Timeouts, Transport,
};
use tower::{Layer, Service, service_fn};

const DEADLINE: Duration = Duration::from_secs(10);

fn get() -> Request<Full<Bytes>> {
    let get = Request::get("http://127.0.0.1/");
    get.body(Full::default()).unwrap()
}

/// Returns the size of the future that a service returns. The service below responds at once.
fn size<L, S>(layer: impl Fn() -> L, over: impl Fn(&L, Leaf) -> S) -> usize
where
    S: Service<Request<Full<Bytes>>>,
{
    let mut service = over(&layer(), leaf());
    size_of_val(&service.call(get()))
}

type Leaf = tower::util::BoxCloneService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;

fn leaf() -> Leaf {
    Leaf::new(service_fn(async |_| Ok(Response::new(Full::default()))))
}

/// The sizes that a commit may not exceed without a reason, in bytes. An unoptimized build has the larger futures.
#[tokio::test(start_paused = true)]
async fn futures_stay_within_their_sizes() {
    let timeouts = Timeouts::new(DEADLINE).unwrap();
    let standard = || StandardLayer::new(DEADLINE).unwrap();
    let retry = || RetryLayer::new(RetryConfig::new()).unwrap();
    let attempt = || AttemptLayer::new(timeouts);
    let client = Client::builder(DEADLINE).build().unwrap();
    let mut transport = Transport::new(timeouts).unwrap();
    let ask = || client.get("http://127.0.0.1/");
    let sizes = [
        size(standard, |layer, leaf| layer.layer(leaf)),
        size(standard, |layer, leaf| layer.over(leaf)),
        size(retry, |layer, leaf| layer.layer(leaf)),
        size(attempt, |layer, leaf| layer.layer(leaf)),
        size_of_val(&transport.call(get())),
        size_of_val(&ask().send()),
        size_of_val(&ask().fetch_bytes()),
    ];
    // StandardLayer, StandardLayer::over, RetryLayer, AttemptLayer, Transport, send, fetch_bytes
    let most = [1_368, 1_368, 1_368, 1_368, 16, 4_096, 4_096];
    let is_within = sizes.iter().zip(&most).all(|(size, most)| size <= most);
    assert!(is_within, "{sizes:?}, at most {most:?}");
}
