//! One query for one family of one absolute name: its source, and its outcome.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use super::Question;
use super::error::Failure;

/// A source of results for queries. The cache above it does not depend on how it gets them.
pub(crate) trait Source: fmt::Debug + Send + Sync + 'static {
    /// Sends the query. The caller bounds the wait.
    fn ask(&self, question: &Question) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;
}

/// The outcome of a query.
#[derive(Debug)]
pub(crate) enum Outcome {
    Addresses {
        addresses: Vec<IpAddr>,
        ttl: Duration,
    },
    /// No addresses; `ttl` is the time for which an SOA guarantees that.
    Nothing {
        failure: Failure,
        ttl: Option<Duration>,
    },
}

impl Outcome {
    pub(crate) fn failed(failure: Failure) -> Self {
        Self::Nothing { failure, ttl: None }
    }
}
