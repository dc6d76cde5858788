//! Faults on purpose: some of the requests of a staging environment fail, each at a hop of its own.
//!
//! [`ChaosLayer`] stands where the network begins, under the attempt and over the transport, so that
//! what it plays is found, named, judged and repeated like the real thing:
//!
//! | mishap | fails at | effect | what became of the request |
//! |---|---|---|---|
//! | [`RefuseConnect`](Mishap::RefuseConnect) | connect: refused | none | not sent |
//! | [`SwallowConnect`](Mishap::SwallowConnect) | connect: timeout | none | not sent |
//! | [`BreakConnection`](Mishap::BreakConnection) | send: closed | none | not sent |
//! | [`Answer`](Mishap::Answer) | gateway or server, by the status | by the status | not sent |
//! | [`Late`](Mishap::Late) | nowhere, or server: timeout | as it was | sent and answered |
//! | [`LoseAnswer`](Mishap::LoseAnswer) | server: closed | possible | sent and answered |
//! | [`Silence`](Mishap::Silence) | server: timeout | possible | sent and answered |
//! | [`BreakBody`](Mishap::BreakBody) | receive: incomplete | done after a 2xx | sent and answered |
//!
//! The effect is the truth: what is said to be unsent was not sent, and where the effect is possible
//! the service has done the work.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use sevenhops::Client;
//! use sevenhops::chaos::{ChaosLayer, Latency, Mishap, Settings};
//!
//! let chaos = ChaosLayer::new(
//!     Settings::new(4711) // the same seed, the same sequence
//!         .mishap(Mishap::LoseAnswer, 0.01)
//!         .mishap(Mishap::throttled(Duration::from_secs(2)), 0.02)
//!         .mishap(Mishap::Late(Latency::tailed(Duration::from_millis(200), Duration::from_secs(3))), 0.10)
//!         .only("https://api.stripe.com".parse()?),
//! )?;
//! # #[cfg(feature = "client")] {
//! let client = Client::builder(Duration::from_secs(10)).chaos(chaos.clone()).build()?;
//! # drop(client); }
//! chaos.switch(false); // while it runs, for all clones
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it protects from
//!
//! Finding out in production what a lost answer does: whether the customer pays twice, and whether
//! anybody can tell.
//!
//! # Defaults
//!
//! No mishaps, on all destinations, switched on.
//!
//! # What it reports
//!
//! Every mishap is a note in the call's timeline ([`What::Chaos`](crate::hop::What::Chaos)), an event
//! `chaos` on its span (a warning), and the cause of the error; an answer that was made up says so in its
//! body. Nobody takes it for a real failure.
//!
//! # Trade-offs
//!
//! It needs nothing that the crate does not need anyway and no feature, so that staging runs the
//! binary that production runs; switched off it costs a look at a flag, and left out nothing at all.
//!
//! Names and certificates do not fail here: for them there is the kit (`testing`, feature `testing`).
//!
//! A lost answer takes as long as the answer took: the request is really sent. A mishap of the network
//! is played above the transport: addresses are not set aside, connections not closed for it.
//!
//! # How people get it wrong
//!
//! Putting it above the retry: then nothing is repeated, and what is measured is not what is
//! running. Rates that are a share of the *calls* in somebody's mind: they are shares of the attempts.
//! Expecting the same sequence from calls that run at the same time: they draw in the order in which
//! they come.

mod body;
mod fate;
mod future;
mod layer;
mod settings;

pub use self::body::ChaosBody;
pub use self::future::ResponseFuture;
pub use self::layer::{ChaosLayer, ChaosService};
pub use self::settings::Settings;
pub use crate::hop::latency::Latency;
pub use crate::hop::mishap::Mishap;
