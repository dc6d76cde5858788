//! How to use sevenhops under SDKs: what an SDK accepts, what to give it, and which hops are then reported.
//!
//! # Example
//!
//! In every case one function finds what happened to a call:
//!
//! ```no_run
//! use sevenhops::sdk;
//!
//! # async fn charge(_: reqwest::Client) -> Result<(), Box<dyn std::error::Error>> { Ok(()) }
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let client = sdk::bare::client(std::time::Duration::from_secs(10))?;
//! if let Err(error) = charge(client).await {
//!     let found = sdk::classify_error(&*error);
//!     println!("{found}"); // call failed at tls (hop 3 of 7): certificate expired; …
//!     if found.had_no_effect() {
//!         println!("it did not happen: try again");
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Protects from
//!
//! | the SDK accepts | give it | dns, connect, tls seen | send, wait, receive seen | timeouts | retry, breaker, key | DNS reaches the pool |
//! |---|---|---|---|---|---|---|
//! | nothing: you make the calls | [`Client`](crate::Client) | yes | yes | all | yes | yes |
//! | a `ClientWithMiddleware` | [`Client`](crate::Client) as [`middleware`] | yes | yes | all | yes | yes |
//! | | [`StandardLayer`](crate::StandardLayer) as [`middleware`], over our [`bare`] client | yes | one wait, then receive | all but send and first byte | yes | new connections only |
//! | | the same over any other client | no: one wait | the same wait, then receive | attempt, body idle, deadline | yes | no |
//! | a tower service | [`StandardLayer`](crate::StandardLayer) over [`Transport`](crate::Transport) | yes | yes | all | yes | yes |
//! | | the same over the SDK's own hyper-util client, with our [pieces](hyper) | yes | yes | all | yes | yes: connections are poisoned |
//! | | with our connector layer, resolver and TLS only | yes | one wait, then receive | all but send and first byte | yes | new connections only |
//! | | the same over your own `reqwest::Client`: [`Transport::over`](crate::Transport::over) | no: one wait | the same wait, then receive | attempt, body idle, deadline | yes | no |
//! | a bare `reqwest::Client` | our [`bare`] client | yes | receive; a timeout without a hop is the wait | dns, connect, tls, deadline | no | new connections only |
//! | nothing but a base URL | that of a [`gateway`](fn@gateway) over [`Client`](crate::Client) | yes | yes | all | yes | yes |
//! | a trait of its own, with an [adapter]: Stripe, AWS, Azure, tonic, object_store, OpenDAL, oauth2, OTLP | the adapter | yes | yes | all | yes; keys for Stripe only | yes |
//! | a `reqwest::Client` of version 0.12 | the [adapter] `sevenhops-reqwest012` | yes, but a timeout | no: one wait | dns, the whole setup, deadline | no | new connections only |
//! | none of these: not HTTP, or no access to its HTTP client | an [`Operation`](crate::Operation) around the SDK's call | by our clients inside | by our clients inside | attempt, deadline | yes | – |
//!
//! [`bare`] and [`Transport::over`](crate::Transport::over) are behind the feature `reqwest` (on by default),
//! [`middleware`] is behind `reqwest-middleware`, [`hyper`] behind `hyper-util`, [`gateway`](fn@gateway) behind
//! `gateway`. Each cell is a test. The tests of an adapter are beside it.
//!
//! [adapter]: https://github.com/sevenhops/sevenhops/tree/main/adapters
//!
//! A body from [`Body::retryable`](crate::Body::retryable) is created for each attempt in every row with retries. In
//! [`middleware`], pass it with [`with_body`](middleware::with_body). Through a [`gateway`](fn@gateway), small bodies can
//! be retried.
//!
//! # Reports
//!
//! [`classify_error`] reads the SDK's error. An error that comes through the stack carries its timeline, and the call
//! has spans. If a client of this crate cannot connect, the error names the hop.
//!
//! Some SDKs read the status themselves, or make text of an error. Then the error contains none of ours. [`observe`]
//! returns the timelines of the calls inside the SDK's future, and classifies the error by the last of them.
//!
//! # Trade-offs
//!
//! The higher a row stands in the table, the more it can do. A failure can be proved to have no effect only where the
//! stack sees when a connection takes the request. Elsewhere the effect is `Possible` as soon as a connection exists.
//!
//! # How people get it wrong
//!
//! The SDK's own retries stay on. Then each of its attempts is a separate call for the stack, with its own attempts,
//! and its last error covers only the last call.

#[cfg(feature = "reqwest")]
pub mod bare;
mod classify;
#[cfg(feature = "gateway")]
mod gateway;
#[cfg(feature = "hyper-util")]
pub mod hyper;
#[cfg(feature = "reqwest-middleware")]
pub mod middleware;
mod observe;
pub mod operation;
#[cfg(feature = "reqwest")]
pub mod reqwest;

pub use self::classify::{Classification, classify_error};
#[cfg(feature = "gateway")]
pub use self::gateway::{Gateway, gateway};
pub use self::observe::{ObservedCalls, observe};
