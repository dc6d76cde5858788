//! One line of SDK code crosses at least seven network hops. Any of them can fail, stall, or do the
//! work and lose the answer. This crate makes such a line safe to run, and honest when it fails.
//!
//! ```text
//!  your code │ 1 dns │ 2 connect │ 3 tls │ 4 send │ 5 gateway │ 6 server │ 7 receive │ your code
//!   encode ──┘       └ TCP                        └ a middlebox answered: 502, 504   └── decode
//!                                                   └ the service: 429, 401, 5xx, silence
//! ```
//!
//! Every wait ends, every failure names its hop, and every failure says whether it may have
//! happened all the same:
//!
//! ```no_run
//! use std::time::Duration;
//! use sevenhops::Client;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder(Duration::from_secs(10)).build()?; // no client without a deadline
//! match client.post("https://api.test/v1/charges").form(&[("amount", "100")]).send().await {
//!     Ok(response) => println!("{}", response.error_for_status()?.text().await?),
//!     Err(error) if error.had_no_effect() => println!("not charged: {error}"),
//!     Err(error) => println!("perhaps charged: {error}"),
//! }
//! # Ok(()) }
//! ```
//!
//! # The journey of a call
//!
//! | place | what stands there |
//! |---|---|
//! | [`Client`] | builds the request, decodes the answer |
//! | [`CallLayer`] | the deadline of the whole call, its timeline, its span |
//! | [`IdempotencyLayer`] | one key a call, the same in every attempt |
//! | [`RedirectLayer`] | each leg a request of its own; what belongs at home stays there |
//! | [`RetryLayer`] | repeats what is safe, worth it and affordable |
//! | [`BreakerLayer`] | refuses at once what would fail all the same |
//! | [`AttemptLayer`] | the limits of one try, and the tracker that hears every hop |
//! | [`Transport`] | our own look-up, then one reqwest client for each destination and address |
//!
//! [`StandardLayer`] puts them into that order; each works alone in any tower stack over
//! [`http::Request`]. An [`Operation`] is the same around what is no request: an SDK's call, a query, a
//! message for a queue.
//!
//! [`chaos`] lets some of the requests of a staging environment fail on purpose, right above the
//! transport.
//!
//! # Features
//!
//! `client` (on by default) is the client, the transport and the resolver; without it the layers
//! remain. `doh` asks name servers over TLS and HTTPS. `har` writes timelines for the network panel of a
//! browser. `otel` is OpenTelemetry: spans, propagation, links, metrics. `serde` reads [`Settings`] from a file and
//! turns timelines into data. `middleware` and `hyper` get the stack under SDKs that take those: see [`sdk`].
//! `testing` is the kit of this crate's own tests: a fault server, a scripted name server, assertions and a guide.
#![cfg_attr(
    not(feature = "client"),
    expect(
        dead_code,
        unused_imports,
        reason = "the transport calls the tracker's hooks"
    )
)]

mod box_error;
mod call;
mod callback;
mod chain;
pub mod chaos;
#[cfg(feature = "client")]
pub mod client;
mod clock;
mod config_error;
mod destination;
mod diagnose;
#[cfg(feature = "client")]
pub mod dns;
pub mod driver;
mod error;
#[cfg(feature = "serde")]
mod file;
mod hint;
pub mod hop;
mod idempotency_key;
pub mod layer;
pub mod limit;
mod luck;
#[cfg(feature = "otel")]
mod metrics;
mod options;
pub mod policy;
mod propagation;
mod record;
mod redact;
mod registry;
mod replay;
#[cfg(feature = "client")]
mod roots;
pub mod sdk;
mod settings;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod timeline;
#[cfg(feature = "client")]
pub mod transport;

#[cfg(feature = "client")]
pub use self::client::{Body, Client, ClientBuilder, RequestBuilder, Response};
pub use self::config_error::SettingError;
pub use self::destination::{Destination, InvalidDestination};
pub use self::error::Error;
pub use self::hop::policy::Guard;
pub use self::hop::{Blame, Effect, Hop, Kind};
pub use self::layer::{
    AttemptLayer, BreakerLayer, CallLayer, IdempotencyLayer, RedirectLayer, RetryLayer,
    StandardLayer, StandardService,
};
pub use self::options::Options;
pub use self::sdk::operation::Operation;
pub use self::settings::Settings;
pub use self::timeline::Timeline;
#[cfg(feature = "client")]
pub use self::transport::{Transport, TransportBuilder};

// The README's code compiles.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
