use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::StatusCode;

use super::addresses::Addresses;
use super::stages::End;
use crate::affinity::Session;
use crate::hop::{Diagnosis, Effect, ServerReport, TlsSession};

/// The facts of an attempt besides its stages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) status: Option<StatusCode>,
    /// The diagnosis of the status, if it is not a success.
    pub(crate) judged: Option<Diagnosis>,
    /// How the attempt failed.
    pub(crate) failure: Option<Diagnosis>,
    /// How a transport left the attempt, until the service continues after it.
    pub(super) handed_back: Option<End>,
    /// Whether the service has continued after a transport had left the attempt.
    pub(super) went_on: bool,
    /// Whether a transport has begun more than once. A proof of one of them then says nothing about the others.
    pub(crate) is_shared: bool,
    /// Whether a connection had taken the request when a transport left the attempt.
    pub(crate) was_taken: bool,

    /// Whether the attempt belongs to an operation and succeeded.
    pub(crate) is_done: bool,
    /// The effect by the code of a gRPC response, which may come in its trailers.
    pub(crate) by_code: Option<Effect>,
    /// Whether the head of the response, which is not a failure, declined the request: a redirect.
    pub(crate) is_declined: bool,
    /// The age of the connection that was used.
    pub(crate) connection_age: Option<Duration>,
    /// Whether it had to wait for a connection: a limit was reached, or another call made one.
    pub(crate) was_queued: bool,
    /// Whether it waits now because a limit is reached.
    pub(crate) is_queued: bool,
    /// The unix socket that was used instead of an address.
    pub(crate) unix_socket: Option<Arc<Path>>,
    /// The peer that sent the response.
    pub(crate) peer: Option<SocketAddr>,
    /// The addresses that the peer's address was chosen from. Weak, because a timeline outlives its transport.
    pub(crate) addresses: Option<Weak<dyn Addresses>>,
    /// The session of the request, if it has to stay on one address.
    pub(crate) session: Option<Box<Session>>,
    /// Whether the service keeps the session on one address, or the request has not left the process.
    pub(crate) is_session_kept: bool,
    /// Whether the session may read older data here than before: its address was lost.
    pub(crate) affinity_moved: bool,
    pub(crate) version: Option<http::Version>,
    /// The method, if it differs from the call's: a redirect, or a layer above the attempt, had changed it.
    pub(crate) method: Option<http::Method>,
    /// The TLS session of the connection that was used.
    pub(crate) tls: Option<TlsSession>,
    /// The session tickets of the connection that was used, if it was made for this attempt.
    pub(crate) tickets: Option<Tickets>,
    /// The proxy that was used, without credentials.
    pub(crate) via: Option<String>,
    /// Where the request went, if a redirect or a choice among endpoints led it there.
    pub(crate) url: Option<String>,
    /// Whether a redirect led it there.
    pub(crate) is_redirected: bool,
    /// Whether that was another origin than the one that the caller named.
    pub(crate) is_led_away: bool,
    /// Whether the DNS answer had expired, and was used because no newer one was received.
    pub(crate) stale: bool,
    /// The TTL that was left, and whether it came from the cache.
    pub(crate) dns: Option<(Duration, bool)>,
    /// Whether the lookup failed without a query. Either the cache knew that the name has no addresses, or the filter
    /// refused an address that was known.
    pub(crate) dns_remembered: bool,
    /// The local end of the connection that was used.
    pub(crate) local: Option<SocketAddr>,
    /// The facts that the response head states about its path.
    pub(crate) said: Option<Box<ServerReport>>,
    /// The wait that the server asked for, as the policies of the attempt read it.
    pub(crate) hint: Option<Duration>,
    /// Whether it is a hedge.
    pub(crate) is_hedge: bool,
    /// Whether it was cancelled because another attempt of the call was faster.
    pub(crate) is_lost: bool,
    /// The addresses of the attempts in flight. A hedge goes to another address; that of a session to one of these.
    pub(crate) beside: Option<Box<[IpAddr]>>,
    /// The headers, if the caller asked to keep them.
    #[cfg(feature = "har")]
    pub(crate) kept: Option<Box<super::KeptHeaders>>,
}

impl Facts {
    /// Returns how the attempt failed: at its end, or by the status of the response.
    pub(crate) fn failed(&self) -> Option<Diagnosis> {
        self.failure.or(self.judged)
    }
}

/// Whether session tickets came since a handshake began. Each connection of the transport has its own counter. In other
/// clients, connections to one name share a counter. There a ticket of another connection may count, but no ticket of
/// this connection is missed.
#[derive(Clone, Debug)]
pub(crate) struct Tickets {
    counter: Arc<AtomicU32>,
    before: u32,
}

impl Tickets {
    /// Begins to count at the start of a handshake.
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
