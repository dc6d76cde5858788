//! The ways into code that is not yours: what an SDK takes, what to give it, and what is seen then.
//!
//! # Example
//!
//! Whatever the way, one function says what became of a call:
//!
//! ```no_run
//! use sevenhops::sdk;
//!
//! # async fn charge(_: reqwest::Client) -> Result<(), Box<dyn std::error::Error>> { Ok(()) }
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let client = sdk::bare::client(std::time::Duration::from_secs(10))?;
//! if let Err(error) = charge(client).await {
//!     let found = sdk::find(&*error);
//!     println!("{found}"); // call failed at tls (hop 3 of 7): certificate expired; …
//!     if found.had_no_effect() {
//!         println!("it did not happen: try again");
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # What it protects from
//!
//! | the SDK takes | give it | dns, connect, tls seen | send, wait, receive seen | limits | retry, breaker, key | DNS reaches the pool |
//! |---|---|---|---|---|---|---|
//! | nothing: you call it | [`Client`](crate::Client) | yes | yes | all | yes | yes |
//! | a `ClientWithMiddleware` | [`Client`](crate::Client) as [`middleware`] | yes | yes | all | yes | yes |
//! | | [`StandardLayer`](crate::StandardLayer) as [`middleware`], over a [`bare`] client of ours | yes | one wait, then receive | all but send and first byte | yes | new connections only |
//! | | the same over any other client | no: one wait | the same wait, then receive | attempt, body idle, deadline | yes | no |
//! | a tower service | [`StandardLayer`](crate::StandardLayer) over [`Transport`](crate::Transport) | yes | yes | all | yes | yes |
//! | | the same over its own client of hyper-util's, with our [pieces](hyper) | yes | yes | all | yes | yes: connections are poisoned |
//! | | with our connector layer, resolver and TLS alone | yes | one wait, then receive | all but send and first byte | yes | new connections only |
//! | | the same over a `reqwest::Client` of yours: [`Transport::over`](crate::Transport::over) | no: one wait | the same wait, then receive | attempt, body idle, deadline | yes | no |
//! | a bare `reqwest::Client` | a [`bare`] client of ours | yes | receive; a timeout without a hop is the wait | dns, connect, tls, deadline | no | new connections only |
//! | no HTTP in sight, or none that it hands out | an [`Operation`](crate::Operation) around its own call | by clients of ours inside | by clients of ours inside | attempt, deadline | yes | – |
//!
//! [`bare`] and [`Transport::over`](crate::Transport::over) are behind the feature `reqwest` (on by default),
//! [`middleware`] is behind `middleware`, [`hyper`] behind `hyper`. Each cell is a test.
//!
//! # What it reports
//!
//! [`find`] reads the SDK's error. Whatever passes through the stack carries its timeline along, and is in
//! the spans; what fails to be connected to by a client of ours names its hop.
//!
//! # Trade-offs
//!
//! The higher a way stands in the table, the more it can do. The effect of a failure can be proved to be
//! none only where the request is heard being taken; elsewhere it is possible as soon as a connection stands.
//!
//! # How people get it wrong
//!
//! By leaving the SDK's own retries on: each of its attempts is a whole call to us, with attempts of its own,
//! and its last error speaks for the last of them only.

#[cfg(feature = "reqwest")]
pub mod bare;
mod find;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "middleware")]
pub mod middleware;
pub mod operation;
#[cfg(feature = "reqwest")]
pub mod reqwest;

pub use self::find::{Finding, find};
