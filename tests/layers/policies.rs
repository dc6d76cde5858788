//! Tests retry, hints, backoff, breaker and attempt timeout at their place in the stack, over foreign services, on a
//! paused clock.

mod attempts;
mod budgets;
mod circuits;
mod classifying;
mod concurrency;
mod hints;
mod presets;
mod queue;
mod rate_limit;
mod retries;
mod served;
mod throttle;
