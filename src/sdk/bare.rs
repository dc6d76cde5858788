//! SDKs that accept only a bare [`reqwest::Client`]. (Feature `reqwest`.)
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//! use sevenhops::{dns::AddressFilter, sdk, Timeouts, Transport};
//!
//! # fn f() -> Result<(), sevenhops::ConfigError> {
//! // One call; each request of the SDK ends within a minute, unless the request sets its own timeout.
//! let client: reqwest::Client = sdk::bare::client(Duration::from_secs(60))?;
//!
//! // The same with your own resolver, filter, proxy or TLS config.
//! let client = Transport::builder(Timeouts::new(Duration::from_secs(60))?)
//!     .filter(AddressFilter::public_only())
//!     .build_reqwest()?;
//! # drop(client); Ok(()) }
//! ```
//!
//! # Protects from
//!
//! - Lookups, connects, handshakes and requests that never end: each has its own timeout, and a timeout names its hop.
//! - New connections to addresses whose TTL expired long ago.
//! - Addresses that the filter refuses, in DNS and in URLs.
//!
//! # Defaults
//!
//! | part | default | why |
//! |---|---|---|
//! | dns, connect, tls | the defaults of [`Timeouts`] for this deadline | |
//! | several addresses | each gets its share of the connect timeout, one after another | an unreachable address must not use up the whole timeout |
//! | total | the deadline, to the last byte of the body; the request's own timeout replaces it | a long stream needs a longer timeout |
//! | redirects | not followed: the SDK receives the 3xx | nothing here removes the SDK's keys on another origin, and a POST that got a redirect may have happened |
//! | retries | two, within a budget, of requests that the peer declares unprocessed (REFUSED_STREAM, GOAWAY); none below the policies of this crate, which retry | reqwest's default has no budget; no other retry is provably safe here |
//! | proxies | none, unless the builder sets one | the environment is not read silently |
//!
//! # Reports
//!
//! A failure before the connection is established holds an [`Error`](crate::Error) that names dns, connect or tls.
//! [`classify_error`](crate::sdk::classify_error) finds that error in any error that the SDK wraps around it. A later
//! failure is reqwest's error and belongs to the wait or to the body. A timeout in which `classify_error` finds no hop
//! happened in the wait, because the earlier stages name themselves.
//!
//! If the request runs inside an attempt of this crate, its connections appear in that attempt's timeline: see
//! [`middleware`](crate::sdk::middleware).
//!
//! # Trade-offs
//!
//! Retry, breaker and idempotency key need a layer around the SDK's own call. After the connection is established, the
//! effect of a failure is `Possible`. The pool does not follow DNS: a pooled connection is kept until it has been idle
//! for 50 s.
//!
//! The pool shares a connection among all requests to its server. A layer above may follow a redirect to another origin
//! that asks for the client's certificate. Then the call fails at encode, and the certificate is not shown. But a
//! connection on which an earlier call has shown it is used again. If that matters, do not follow redirects, or use
//! [`Transport`].
//!
//! # How people get it wrong
//!
//! Some SDKs build a second client for some of their calls, for credentials for example. That client is not this one.
//! Some SDKs retry by themselves. Each of their attempts then has the whole deadline.

use std::time::Duration;

use crate::config_error::ConfigError;
use crate::timeout::Timeouts;
use crate::transport::Transport;

/// Creates a client whose requests end within `deadline`, to the last byte of the body. (Feature `reqwest`.)
///
/// # Errors
///
/// Fails if `deadline` is shorter than 10 ms or longer than 24 h, or if the system's name servers or root certificates
/// cannot be read.
pub fn client(deadline: Duration) -> Result<reqwest::Client, ConfigError> {
    Transport::builder(Timeouts::new(deadline)?).build_reqwest()
}
