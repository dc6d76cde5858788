//! One query for one family of one absolute name: its source, and its outcome.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use super::Question;
use super::error::LookupFailure;

/// A source of results for queries. The cache above it does not depend on how it gets them.
pub(crate) trait QuerySource: fmt::Debug + Send + Sync + 'static {
    /// Sends the query. The caller bounds the wait.
    fn ask(&self, question: &Question) -> Pin<Box<dyn Future<Output = QueryOutcome> + Send>>;
}

/// The outcome of a query.
#[derive(Debug)]
pub(crate) enum QueryOutcome {
    Addresses {
        addresses: Vec<IpAddr>,
        ttl: Duration,
    },
    /// No addresses; `ttl` is the time for which an SOA guarantees that.
    Nothing {
        failure: LookupFailure,
        ttl: Option<Duration>,
    },
}

impl QueryOutcome {
    pub(crate) fn failed(failure: LookupFailure) -> Self {
        Self::Nothing { failure, ttl: None }
    }
}
