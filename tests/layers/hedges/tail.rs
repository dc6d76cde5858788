//! Tests the claim of hedges: a far shorter tail for a few more requests.

use std::time::Duration;

use sevenhops::{Config, HedgeConfig, StandardLayer};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use super::service::{MILLIS, Reply, SECS, Slow, get, steady};

/// Makes calls to a service in which 2 % take a hundred times as long. Returns their 99th percentile, and how many
/// requests a call took.
async fn run(config: Config) -> (Duration, f64) {
    let slow = Slow::default();
    let service = StandardLayer::from_config(&config)
        .unwrap()
        .layer(slow.clone());
    let mut draw = fastrand::Rng::with_seed(7);
    let mut took = Vec::new();
    for _ in 0..CALLS {
        let usual = MILLIS(draw.u64(8..13));
        // Each request draws for itself, the hedge as well.
        slow.clear();
        for _ in 0..2 {
            let factor = if draw.u32(0..100) < 2 { 100 } else { 1 };
            slow.add(usual * factor, Reply::Status(200));
        }
        let began = Instant::now();
        let response = service.clone().oneshot(get()).await.unwrap();
        took.push(began.elapsed());
        drop(response);
    }
    took.sort();
    let p99 = took[CALLS * 99 / 100];
    (p99, slow.count() as f64 / CALLS as f64)
}

#[tokio::test(start_paused = true)]
async fn is_a_third_at_most_for_five_percent_more_requests() {
    let plain = Config::new(SECS(10)).retry(steady());
    let (without, requests) = run(plain.clone()).await;
    assert_eq!(requests, 1.0);
    let (with, requests) = run(plain.hedge(HedgeConfig::new())).await;
    assert!(
        with.as_secs_f64() <= 0.3 * without.as_secs_f64(),
        "{with:?} {without:?}"
    );
    assert!(requests > 1.0 && requests <= 1.05, "{requests}");
}

const CALLS: usize = 2_000;
