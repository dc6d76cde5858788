//! Tests retry, hints, backoff, breaker, stale responses, fallbacks and attempt timeout at their place in the stack,
//! over foreign services, on a paused clock.

mod attempts;
mod budgets;
mod circuits;
mod classifying;
mod concurrency;
mod endpoints;
mod fallbacks;
mod hints;
mod load_reload;
mod load_samples;
mod presets;
mod queue;
mod rate_limit;
mod recovery;
mod retries;
mod served;
mod shared_rate_limit;
mod stale;
mod stale_bodies;
mod stale_config;
mod stale_layer;
mod throttle;
mod waits;
