//! Waits for the store and for the server, and stacks that share one store.

use http::Method;
use sevenhops::RateLimitLayer;
use tower::{Layer, ServiceExt};

use super::{MS, Reply, Store, send, stack, ten};
use crate::mock::{Mock, request, with};

#[tokio::test(start_paused = true)]
async fn store_that_hangs_is_noticed_if_all_callers_leave_before_its_timeout() {
    let store = Store::new([Reply::Hang; 9]);
    let (layer, mock) = (stack(ten(), &store), Mock::default());
    for is_sent in [false, false, true] {
        let sent = tokio::time::timeout(MS(50), send(&layer, &mock)).await;
        assert_eq!(sent.is_ok(), is_sent);
    }
    assert_eq!((store.count(), mock.count()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_the_word_of_the_server_ask_the_store_then() {
    let grants = [0, 0, 0, 100, 200].map(Reply::Grant);
    let store = Store::new(grants);
    let mock = Mock::new([with(200, "ratelimit", "\"default\";r=0;t=3")]);
    let layer = stack(ten().server_informed(true), &store);
    send(&layer, &mock).await.unwrap();
    let send = || send(&layer, &mock);
    let calls = tokio::join!(send(), send(), send(), send());
    assert!(calls.0.is_ok() && calls.1.is_ok() && calls.2.is_ok() && calls.3.is_ok());
    assert_eq!(mock.waits(), [MS(3_000), MS(0), MS(100), MS(100)]);
}

#[tokio::test(start_paused = true)]
async fn stacks_of_a_process_have_one_local_share() {
    let store = Store::new([Reply::Fail]);
    let shared = store.shared();
    let layers = [(); 2].map(|()| {
        let layer = RateLimitLayer::new(ten().wait(false)).unwrap();
        layer.share_rate_limit(&shared)
    });
    let mut sent = 0;
    for layer in layers.iter().cycle().take(8) {
        let ended = layer.layer(Mock::default()).oneshot(request(Method::GET));
        sent += usize::from(ended.await.is_ok());
    }
    assert_eq!(sent, 2, "the burst of one process");
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_server_and_for_the_store_are_bounded_together() {
    let store = Store::new([Reply::Grant(0), Reply::Grant(2_000)]);
    let mock = Mock::new([with(200, "ratelimit", "\"default\";r=0;t=4")]);
    let config = ten().server_informed(true).max_wait(MS(5_000));
    let layer = stack(config, &store);
    send(&layer, &mock).await.unwrap();
    // It has waited for 4 s when the store is asked, so that the store may let it wait for 1 s.
    let _ = send(&layer, &mock).await;
    let longest = store.requests.lock().unwrap()[1].longest();
    assert!(longest <= MS(1_000), "{longest:?}");
}
