//! Tests retry, hints, backoff, breaker and attempt timeout at their place in the stack, over foreign services, on a
//! paused clock.

mod attempts;
mod budgets;
mod circuits;
mod classifying;
mod hints;
mod presets;
mod retries;
mod served;
