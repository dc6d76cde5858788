//! One line of SDK code crosses seven network hops. Each can fail, stall, or do the work and lose the response. This
//! crate makes such a line safe to run, and honest when it fails.
//!
//! ```text
//!  your code │ 1 dns │ 2 connect │ 3 tls │ 4 send │ 5 gateway │ 6 server │ 7 receive │ your code
//!   encode ──┘       └ TCP                        └ a middlebox answered: 502, 504   └── decode
//!                                                   └ the service: 429, 401, 5xx, silence
//! ```
//!
//! Every wait ends. Every failure names its hop, and says whether the request may still have had an effect:
//!
//! ```no_run
//! use std::time::Duration;
//! use sevenhops::{Client, Effect};
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder(Duration::from_secs(10)).build()?; // no client without a deadline
//! match client.post("https://api.test/v1/charges").form(&[("amount", "100")]).fetch_bytes().await {
//!     Ok(charge) => println!("charged: {} bytes", charge.len()),
//!     Err(error) => match error.effect() {
//!         Effect::None => println!("not charged, try again: {error}"),
//!         Effect::Declined => println!("not charged, says the service: {error}"),
//!         Effect::Possible => println!("perhaps charged, look it up: {error}"),
//!         Effect::Done => println!("charged, only the response was lost: {error}"),
//!     },
//! }
//! # Ok(()) }
//! ```
//!
//! # The journey of a call
//!
//! | layer | what its policy does |
//! |---|---|
//! | [`DeadlineLayer`] | bounds the whole call by its deadline; keeps its timeline and its span |
//! | [`FallbackLayer`] | answers a failed call with a function's response (off by default) |
//! | [`StaleLayer`] | serves the last good response if a read fails (off by default) |
//! | [`EndpointsConfig`] of a [`StandardLayer`] | sends a call to a logical name to one of its base URLs (off by default) |
//! | [`IdempotencyLayer`] | gives a call one key, the same in every attempt |
//! | [`RedirectLayer`] | sends a request for each leg, and keeps credentials at their origin |
//! | [`RetryLayer`] | retries if a retry is safe, useful and within the budget |
//! | [`HedgeLayer`] | sends a slow call a second time, and takes the first success (off by default) |
//! | [`ThrottleLayer`] | rejects a part of the attempts while a destination is overloaded (off by default) |
//! | [`CircuitBreakerLayer`] | rejects attempts to a destination that keeps failing |
//! | [`ConcurrencyLayer`] | bounds the attempts in flight to a destination (off by default) |
//! | [`RateLimitLayer`] | spaces the attempts to a destination (off by default) |
//! | [`AttemptLayer`] | applies the timeouts of one attempt, and records every hop |
//!
//! Each layer is [the driver](driver) with one policy enabled, and works alone in any tower stack over
//! [`http::Request`]. [`StandardLayer`] is the driver with all of them, in that order. Above it a [`Client`] builds the
//! request and decodes the response. Below it a [`Transport`] looks the name up, then sends over its own connections.
//! An [`Operation`] applies the same policies to work that is not a request: an SDK's call, a query, a message for a
//! queue.
//!
//! In a server, [`server::InheritLayer`] gives the caller's deadline to the calls of a handler.
//!
//! [`chaos`] injects faults into some requests of a staging environment, directly above the transport.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `client` (default) | the client, the transport and the resolver; without it only the layers remain |
//! | `reqwest` (default) | bare clients for SDKs, [`Transport::over`] for your own client, conversions of responses |
//! | `cookies` | a jar for the cookies that servers set |
//! | `encrypted-dns` | DNS queries over TLS and HTTPS |
//! | `har` | timelines as HTTP archives, for the network panel of a browser |
//! | `otel` | OpenTelemetry: spans, propagation, links, metrics |
//! | `redis` | a rate limit that processes share: [`policy::rate_limit::SharedRateLimit`] over Redis |
//! | `serde` | [`Config`] from a file, timelines as data |
//! | `gateway` | a server inside the process, for SDKs that accept nothing but a base URL: [`sdk::gateway`](fn@sdk::gateway) |
//! | `reqwest-middleware`, `hyper-util` | the stack below SDKs that accept those: see [`sdk`] |
//! | `testing` | the test kit: a fault server, a scripted name server, assertions and a guide |
//!
//! # Read on
//!
//! The [guide](https://github.com/sevenhops/sevenhops/blob/main/docs/guide.md) explains timeouts, retries and configs.
//! [`Error::explain`] says what a failure means, and what to do. [`sdk`] shows how to wrap SDKs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "client"),
    expect(
        dead_code,
        unused_imports,
        reason = "the transport calls the tracker's hooks"
    )
)]

mod affinity;
#[cfg(feature = "client")]
mod body;
mod box_error;
mod call;
mod callback;
mod chain;
pub mod chaos;
#[cfg(feature = "client")]
pub mod client;
mod clock;
#[cfg(feature = "client")]
mod coding;
mod config_error;
mod consistency;
mod destination;
mod diagnose;
#[cfg(feature = "client")]
pub mod dns;
pub mod driver;
mod error;
#[doc = include_str!("../docs/errors.md")]
pub mod errors {}
mod config;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod getters;
pub mod hop;
mod hop_by_hop;
mod idempotency_key;
pub mod layer;
mod luck;
#[cfg(test)]
mod messages_tests;
#[cfg(feature = "otel")]
mod metrics;
mod options;
pub mod policy;
#[cfg(feature = "client")]
pub mod presets;
mod propagation;
mod record;
#[cfg(feature = "client")]
pub mod recorder;
mod redact;
#[cfg(feature = "redis")]
pub mod redis;
mod registry;
mod replay;
mod retry_after;
#[cfg(feature = "client")]
mod roots;
pub mod sdk;
#[cfg(feature = "serde")]
mod serde_forms;
pub mod server;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod timeline;
pub mod timeout;
#[cfg(feature = "client")]
pub mod transport;

#[cfg(feature = "client")]
pub use self::client::{Body, Client, ClientBuilder, IntoUrl, RequestBuilder, Response};
pub use self::config::{Config, DestinationConfig};
pub use self::config_error::ConfigError;
pub use self::consistency::Consistency;
pub use self::destination::{Destination, InvalidDestination};
pub use self::error::Error;
pub use self::hop::policy::Policy;
pub use self::hop::{Blame, Effect, Hop, Kind};
pub use self::layer::{
    AttemptLayer, CircuitBreakerLayer, ConcurrencyLayer, ConfigHandle, DeadlineLayer,
    FallbackLayer, HedgeLayer, IdempotencyLayer, RateLimitLayer, RedirectLayer, RetryLayer,
    StaleLayer, StandardLayer, StandardService, ThrottleLayer,
};
pub use self::options::{Options, Priority};
pub use self::policy::breaker::CircuitBreakerConfig;
pub use self::policy::concurrency::ConcurrencyConfig;
pub use self::policy::endpoints::{EndpointConfig, EndpointsConfig};
pub use self::policy::hedge::HedgeConfig;
pub use self::policy::idempotency::{IdempotencyConfig, IdempotencyKey};
pub use self::policy::rate_limit::RateLimitConfig;
pub use self::policy::redirect::RedirectConfig;
pub use self::policy::retry::RetryConfig;
pub use self::policy::stale::StaleConfig;
pub use self::policy::throttle::ThrottleConfig;
pub use self::sdk::operation::{Operation, OperationAttempt, OperationConfig, OperationError};
pub use self::timeline::Timeline;
pub use self::timeout::{Timeouts, TimeoutsConfig};
#[cfg(feature = "client")]
pub use self::transport::{Transport, TransportBuilder};

// Compiles the code of these pages.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../docs/guide.md")]
struct Guide;

#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../docs/operations.md")]
struct Operations;

#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../docs/coming-from-reqwest.md")]
struct ComingFromReqwest;
