//! Tests shared budgets, and budgets that time does not refill.

use std::time::Duration;

use http::Method;
use sevenhops::{
    CircuitBreakerConfig, Destination, RetryConfig, StandardLayer,
    hop::NoRetryReason,
    policy::retry::{Budget, Budgets},
};

use tower::{Layer, ServiceExt};

use crate::mock::{Mock, Step, request, status, steady};

const SECS: fn(u64) -> Duration = Duration::from_secs;

fn layer(retry: RetryConfig) -> StandardLayer {
    let unbreakable = CircuitBreakerConfig::new().min_attempts(u32::MAX);
    let settings = sevenhops::Config::new(SECS(10)).retry(retry);
    StandardLayer::from_config(&settings.circuit_breaker(unbreakable)).unwrap()
}

fn api() -> Destination {
    "https://api.test".parse().unwrap()
}

/// Makes one call over these steps. Returns the number of requests, and why the call was not retried.
async fn call(
    layer: &StandardLayer,
    steps: impl IntoIterator<Item = Step>,
) -> (usize, Option<NoRetryReason>) {
    let mock = Mock::new(steps);
    let ended = layer
        .layer(mock.clone())
        .oneshot(request(Method::GET))
        .await;
    let reason = match &ended {
        Ok(response) => response.body().timeline().no_retry_reason(),
        Err(error) => error.no_retry_reason(),
    };
    (mock.count(), reason)
}

fn two() -> Budget {
    Budget::new()
        .ratio(0.0)
        .min_retries_per_second(2)
        .window(SECS(1))
}

#[tokio::test(start_paused = true)]
async fn two_stacks_that_share_a_budget_retry_no_more_than_one() {
    let budgets = Budgets::new(two()).unwrap();
    let stacks = [(); 2].map(|()| layer(steady()).share_budgets(&budgets).unwrap());
    let down = || (0..9).map(|_| status(503));
    assert_eq!(call(&stacks[0], down()).await.0, 3);
    let (sent, reason) = call(&stacks[1], down()).await;
    assert_eq!((sent, reason), (1, Some(NoRetryReason::BudgetExhausted)));
    assert_eq!(budgets.destinations(), [(api(), 0)]);
    // A stack's own budget is not affected.
    assert_eq!(call(&layer(steady().budget(two())), down()).await.0, 3);
}

#[tokio::test(start_paused = true)]
async fn budget_with_another_config_is_not_shared_and_is_refused() {
    let budgets = Budgets::new(two()).unwrap();
    let own = layer(steady().budget(Budget::new().ratio(0.5)));
    let refused = own.share_budgets(&budgets).unwrap_err().to_string();
    assert!(refused.starts_with("retry.budget: Budget("), "{refused}");
    assert!(
        layer(steady().budget(two()))
            .share_budgets(&budgets)
            .is_ok()
    );
    assert!(Budgets::new(Budget::new().ratio(-1.0)).is_err());
}

#[tokio::test(start_paused = true)]
async fn reserve_pays_for_retries_until_successes_refill_it() {
    let layer = layer(steady().attempts(2).budget(Budget::reserve(12)));
    let left = || layer.budgets().left(&api()).unwrap();
    assert_eq!(call(&layer, [status(503), status(503)]).await.0, 2);
    assert_eq!(left(), 1, "7 tokens");
    // A successful retry pays its price back.
    assert_eq!(call(&layer, [status(503)]).await.0, 2);
    assert_eq!(left(), 1);
    assert_eq!(call(&layer, [status(503), status(503)]).await.0, 2);
    let (sent, reason) = call(&layer, [status(503)]).await;
    assert_eq!((sent, reason), (1, Some(NoRetryReason::BudgetExhausted)));
    tokio::time::advance(SECS(3_600)).await;
    for _ in 0..3 {
        assert_eq!(call(&layer, []).await.0, 1);
    }
    assert_eq!(left(), 1, "5 tokens");
    assert_eq!(call(&layer, [status(503)]).await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn timeout_costs_the_reserve_more() {
    let layer = layer(steady().attempts(2).budget(Budget::reserve(14)));
    let _ = call(&layer, [Step::Hang, Step::Hang]).await;
    assert_eq!(layer.budgets().left(&api()), Some(0), "4 tokens");
}

#[tokio::test(start_paused = true)]
async fn costs_of_a_reserve_can_be_set() {
    let budget = Budget::reserve_with_costs(14, 1, 13);
    assert_eq!(budget.get_reserve(), Some((14, 1, 13)));
    assert_eq!(Budget::reserve(14).get_reserve(), Some((14, 5, 10)));
    let layer = layer(steady().attempts(2).budget(budget));
    let _ = call(&layer, [Step::Hang, Step::Hang]).await;
    assert_eq!(layer.budgets().left(&api()), Some(1));
}

#[tokio::test(start_paused = true)]
async fn throttle_stops_retries_while_too_many_attempts_fail() {
    let layer = layer(steady().budget(Budget::throttle(10, 1.0)));
    let down = || (0..9).map(|_| status(503));
    assert_eq!(call(&layer, down()).await.0, 3);
    assert_eq!(layer.budgets().left(&api()), Some(2));
    let (sent, reason) = call(&layer, down()).await;
    assert_eq!((sent, reason), (2, Some(NoRetryReason::BudgetExhausted)));
    for _ in 0..2 {
        assert_eq!(call(&layer, []).await.0, 1);
    }
    assert_eq!(call(&layer, [status(503)]).await.0, 2);
}
