//! Fault injection: some of the requests of a staging environment fail, each at a chosen hop.
//!
//! [`ChaosLayer`] belongs where the network begins: below the attempt layer and above the transport. The stack
//! therefore diagnoses, judges and retries an injected fault like a real failure:
//!
//! | fault | fails at | effect | the request |
//! |---|---|---|---|
//! | [`RefuseConnect`](Fault::RefuseConnect) | connect: refused | none | not sent |
//! | [`BlackholeConnect`](Fault::BlackholeConnect) | connect: timeout | none | not sent |
//! | [`BreakConnection`](Fault::BreakConnection) | send: closed | none | not sent |
//! | [`Respond`](Fault::Respond) | gateway or server, by the status | by the status | not sent |
//! | [`Delay`](Fault::Delay) | nowhere, or server: timeout | unchanged | sent, the service responds |
//! | [`DropResponse`](Fault::DropResponse) | server: closed | possible | sent, the service responds |
//! | [`Silence`](Fault::Silence) | server: timeout | possible | sent, the service responds |
//! | [`BreakBody`](Fault::BreakBody) | receive: incomplete | done after a 2xx | sent, the service responds |
//!
//! The effect is true. If it is none, the request was not sent. If it is possible, the service has done the work.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use sevenhops::Client;
//! use sevenhops::chaos::{ChaosLayer, Latency, Fault, ChaosConfig};
//!
//! let chaos = ChaosLayer::new(
//!     ChaosConfig::new(4711) // the same seed, the same sequence
//!         .inject(Fault::DropResponse, 0.01)
//!         .inject(Fault::throttled(Duration::from_secs(2)), 0.02)
//!         .inject(Fault::Delay(Latency::tailed(Duration::from_millis(200), Duration::from_secs(3))), 0.10)
//!         .destination("https://api.stripe.com".parse()?),
//! )?;
//! # #[cfg(feature = "client")] {
//! let client = Client::builder(Duration::from_secs(10))
//!     .transport(|transport| transport.chaos(chaos.clone()))
//!     .build()?;
//! # drop(client); }
//! chaos.set_enabled(false); // while it runs, for all clones
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Protects from
//!
//! Without it, a team learns only in production what a lost response does: whether the customer pays twice, and whether
//! the error shows it.
//!
//! # Defaults
//!
//! There are no faults. They apply to all destinations, and fault injection is on.
//!
//! # Reports
//!
//! Every fault is an event in the call's timeline ([`TimelineEventKind::Chaos`](crate::hop::TimelineEventKind::Chaos)),
//! a warning event `chaos` on its span, and the cause of the error. The body of a generated response says that it was
//! generated. An injected fault cannot be mistaken for a real failure.
//!
//! # Trade-offs
//!
//! The layer needs no other dependency and no feature, so staging runs the same binary as production. If it is switched
//! off, it costs one check of a flag. Without the layer, there is no cost.
//!
//! The layer does not inject faults into lookups and certificates. Use the test kit for them (`testing`, feature
//! `testing`).
//!
//! A lost response takes as long as the real response took, because the request is really sent. A network fault is
//! injected above the transport, so the transport sets no address aside and closes no connection for it.
//!
//! # How people get it wrong
//!
//! - Putting it above the retry layer: then the stack makes no retry, and the test measures another stack than
//!   production runs.
//! - Reading rates as shares of the *calls*: they are shares of the attempts.
//! - Expecting the same sequence from concurrent calls: they draw in the order in which they arrive.

mod body;
mod config;
mod future;
mod layer;
mod plan;

pub use self::body::ChaosBody;
pub use self::config::ChaosConfig;
pub use self::future::ChaosFuture;
pub use self::layer::{ChaosLayer, ChaosService};
pub use crate::hop::fault::Fault;
pub use crate::hop::latency::Latency;
