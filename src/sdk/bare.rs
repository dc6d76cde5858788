//! SDKs that take a bare [`reqwest::Client`], and nothing else. (Feature `reqwest`.)
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//! use sevenhops::{dns::Filter, limit::Limits, Transport, sdk};
//!
//! # fn f() -> Result<(), sevenhops::SettingError> {
//! // One call; each request of the SDK ends within a minute, unless it brings a timeout of its own.
//! let client: reqwest::Client = sdk::bare::client(Duration::from_secs(60))?;
//!
//! // The same with a resolver, a filter, a proxy or TLS of one's own.
//! let client = Transport::builder(Limits::new(Duration::from_secs(60))?)
//!     .filter(Filter::public_only())
//!     .build_reqwest()?;
//! # drop(client); Ok(()) }
//! ```
//!
//! # What it protects from
//!
//! A look-up, a connect or a handshake without an end, each with a limit and a name of its own; a request
//! without an end; addresses used long after their TTL by new connections; addresses that the filter
//! refuses, in DNS and in URLs.
//!
//! # Defaults
//!
//! | what | how | why |
//! |---|---|---|
//! | dns, connect, tls | the defaults of [`Limits`] for this deadline | |
//! | several addresses | each gets its share of the connect limit, one after another | an address that is dark must not use it up |
//! | total | the deadline, to the last byte of the body; a timeout of the request's own takes its place | a stream that goes on needs a longer one |
//! | redirects | none: an SDK gets the 3xx as it is | nothing here holds its keys back from another origin, and a POST that was answered by a redirect may have happened |
//! | repeats | two, within a budget, of what the peer says it did not process (REFUSED_STREAM, GOAWAY); none below policies of ours, which repeat by themselves | reqwest does so by itself, without a budget; nothing else is provably safe here |
//! | proxies | none, unless the builder says so | the environment is not read behind one's back |
//!
//! # What it reports
//!
//! What fails before a connection stands holds an [`Error`](crate::Error) that names dns, connect or tls;
//! [`find`](crate::sdk::find) finds it in whatever the SDK wraps around it. What fails later is reqwest's
//! error: the wait, or the body. If no hop is found in a timeout, it was the wait: everything before it has
//! named itself.
//!
//! Under an attempt of ours its connections land in the timeline:
//! see [`middleware`](crate::sdk::middleware).
//!
//! # Trade-offs
//!
//! Retry, breaker and key need somebody around the SDK's own call. The effect of what failed once a
//! connection stood is possible. And a pooled connection knows nothing of DNS: it is kept until it has
//! been idle for 50 s.
//!
//! # How people get it wrong
//!
//! By handing it to an SDK that builds a client of its own for some of its calls (for credentials, say).
//! And by forgetting what the SDK repeats by itself: each of its attempts has the whole deadline.

use std::time::Duration;

use crate::config_error::SettingError;
use crate::limit::Limits;
use crate::transport::Transport;

/// Makes a client whose requests end within `deadline`, to the last byte of the body. (Feature `reqwest`.)
///
/// # Errors
///
/// Fails if `deadline` is shorter than 10 ms or longer than 24 h, or if the system's name servers or roots
/// cannot be read.
pub fn client(deadline: Duration) -> Result<reqwest::Client, SettingError> {
    Transport::builder(Limits::new(deadline)?).build_reqwest()
}
