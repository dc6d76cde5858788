//! Tests random faults: rates, seeds, and the order of the draws.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use sevenhops::chaos::{ChaosConfig, ChaosLayer, Fault, Latency};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use super::faults::quiet;
use crate::mock::{Mock, request};

const REQUESTS: usize = 10_000;

fn settings(seed: u64) -> ChaosConfig {
    ChaosConfig::new(seed)
        .inject(Fault::RefuseConnect, 0.02)
        .inject(Fault::DropResponse, 0.05)
        .inject(Fault::unavailable(), 0.10)
}

/// Makes this number of requests, and returns one letter for the result of each.
async fn letters(chaos: &ChaosLayer, requests: usize) -> String {
    let service = chaos.layer(Mock::default());
    let mut letters = String::new();
    for _ in 0..requests {
        let answered = service.clone().oneshot(request(Method::GET)).await;
        letters.push(match answered {
            Ok(answer) if answer.status() == 503 => 'a',
            Ok(_) => '.',
            Err(error) if error.to_string().contains("refused") => 'r',
            Err(_) => 'l',
        });
    }
    letters
}

#[tokio::test(start_paused = true)]
async fn rates_are_shares_of_the_requests() {
    let chaos = ChaosLayer::new(settings(4711)).unwrap();
    let letters = letters(&chaos, REQUESTS).await;
    for (letter, expected) in [('r', 200), ('l', 500), ('a', 1_000), ('.', 8_300)] {
        let found = letters.matches(letter).count();
        // Four standard deviations of the binomial distribution.
        let share = expected as f64 / REQUESTS as f64;
        let spread = (expected as f64 * (1.0 - share)).sqrt() * 4.0;
        assert!(
            found.abs_diff(expected) as f64 <= spread,
            "{letter}: {found}"
        );
    }
    assert_eq!(
        chaos.injected() as usize,
        REQUESTS - letters.matches('.').count()
    );
}

#[tokio::test(start_paused = true)]
async fn same_seed_is_the_same_sequence_and_another_is_another() {
    let run = async |seed| letters(&ChaosLayer::new(settings(seed)).unwrap(), 500).await;
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
}

#[tokio::test(start_paused = true)]
async fn excluded_request_does_not_advance_the_random_sequence() {
    let all = letters(&ChaosLayer::new(settings(3)).unwrap(), 200).await;
    let chaos =
        ChaosLayer::new(settings(3).destination("https://api.test".parse().unwrap())).unwrap();
    let chaos = chaos.when(|head| head.method == Method::GET);
    let mut meant = String::new();
    for at in 0..200 {
        chaos.set_enabled(false);
        letters(&chaos, at % 3).await;
        chaos.set_enabled(true);
        let elsewhere = Request::get("https://other.test/").body(Full::default());
        for stranger in [request(Method::POST), elsewhere.unwrap()] {
            let service = chaos.layer(Mock::default());
            assert_eq!(service.oneshot(stranger).await.unwrap().status(), 200);
        }
        meant += &letters(&chaos, 1).await;
    }
    assert_eq!(meant, all);
}

#[tokio::test(start_paused = true)]
async fn queue_comes_before_the_rates_for_all_clones() {
    let chaos = ChaosLayer::new(ChaosConfig::new(0).inject(Fault::unavailable(), 1.0)).unwrap();
    let queued = [Fault::DropResponse, Fault::RefuseConnect];
    chaos.clone().enqueue(queued).unwrap();
    assert_eq!(letters(&chaos, 4).await, "lraa");
    assert!(chaos.is_enabled());
    chaos.clone().set_enabled(false);
    assert!(!chaos.is_enabled());
    assert_eq!(letters(&chaos, 2).await, "..");
}

#[test]
fn queue_takes_all_or_nothing() {
    let chaos = quiet();
    let minute = Duration::from_secs(60);
    let wrong = Fault::Delay(Latency::tailed(minute, minute / 2));
    let refused = chaos.enqueue([Fault::Silence, wrong]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "chaos.latency.median: 60s is invalid: expected at most chaos.latency.p99 (30s)"
    );
    let service = chaos.layer(Mock::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let answer = runtime
        .unwrap()
        .block_on(service.oneshot(request(Method::GET)));
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn delays_follow_the_distribution() {
    let second = Duration::from_secs(1);
    let delay = Fault::Delay(Latency::between(second, second * 3));
    let chaos = ChaosLayer::new(ChaosConfig::new(5).inject(delay, 1.0)).unwrap();
    let start = Instant::now();
    letters(&chaos, REQUESTS).await;
    let mean = start.elapsed().as_secs_f64() / REQUESTS as f64;
    // Four standard errors of the mean, 2 s / √12 / √10,000 each. Timers wait for whole milliseconds.
    assert!((mean - 2.0).abs() < 0.024, "{mean}");
}
