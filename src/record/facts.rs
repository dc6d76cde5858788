use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::StatusCode;

use super::addresses::Addresses;
use super::stages::End;
use crate::hop::{Diagnosis, Said, TlsSession};

/// What an attempt found out besides its stages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) status: Option<StatusCode>,
    /// What the status says, if it is not a success.
    pub(crate) judged: Option<Diagnosis>,
    /// How the attempt failed.
    pub(crate) failure: Option<Diagnosis>,
    /// How a transport left the attempt, until the service goes on after it.
    pub(super) handed_back: Option<End>,
    /// Whether a transport has begun more than once: what one of them proves says nothing of the others.
    pub(crate) is_shared: bool,
    /// Whether a connection had taken the request when a transport left the attempt.
    pub(crate) was_taken: bool,

    /// Whether it was an operation's, and did what it was to do.
    pub(crate) is_done: bool,
    /// Whether the head of the response, which is not a failure, declined the request: a redirect.
    pub(crate) is_declined: bool,
    /// How old the connection is that was used.
    pub(crate) connection_age: Option<Duration>,
    /// Whether it had to wait for a connection, because no more may be made.
    pub(crate) was_queued: bool,
    /// Whether it waits for one now.
    pub(crate) is_queued: bool,
    /// The unix socket that it went through, instead of to an address.
    pub(crate) unix_socket: Option<Arc<Path>>,
    /// The peer that answered.
    pub(crate) peer: Option<SocketAddr>,
    /// The addresses that the peer's was chosen from. Not owned: a timeline outlives its transport.
    pub(crate) addresses: Option<Weak<dyn Addresses>>,
    pub(crate) version: Option<http::Version>,
    /// The method, if it is not that of the call: a redirect, or a layer above the attempt, had changed it.
    pub(crate) method: Option<http::Method>,
    /// The TLS session of the connection that was used.
    pub(crate) tls: Option<TlsSession>,
    /// The session tickets of the connection that was used, if it was made for this attempt.
    pub(crate) tickets: Option<Tickets>,
    /// The proxy that it went through, without credentials.
    pub(crate) via: Option<String>,
    /// Where the request went, if a redirect led it there.
    pub(crate) url: Option<String>,
    /// Whether the DNS answer had ended, and was used because nobody said anything newer.
    pub(crate) stale: bool,
    /// What was left of the answer's TTL, and whether it came from the cache.
    pub(crate) dns: Option<(Duration, bool)>,
    /// Whether it was remembered that DNS has no answer: then nobody was asked.
    pub(crate) dns_remembered: bool,
    /// This end of the connection that was used.
    pub(crate) local: Option<SocketAddr>,
    /// What the head of the answer says of its way.
    pub(crate) said: Option<Box<Said>>,
    /// The headers, where somebody asked for them.
    #[cfg(feature = "har")]
    pub(crate) kept: Option<Box<super::Kept>>,
}

impl Facts {
    /// How it failed: to the end, or by the status of the response.
    pub(crate) fn failed(&self) -> Option<Diagnosis> {
        self.failure.or(self.judged)
    }
}

/// Whether session tickets came since a handshake began. A connection of the transport has a counter of its own. In
/// other clients names share counters: there it may say yes for another connection's ticket, and never no for this
/// one's.
#[derive(Clone, Debug)]
pub(crate) struct Tickets {
    counter: Arc<AtomicU32>,
    before: u32,
}

impl Tickets {
    /// A handshake begins.
    pub(crate) fn since_now(counter: &Arc<AtomicU32>) -> Self {
        Self {
            before: counter.load(Ordering::Acquire),
            counter: Arc::clone(counter),
        }
    }

    pub(crate) fn came(&self) -> bool {
        self.counter.load(Ordering::Acquire) != self.before
    }
}
