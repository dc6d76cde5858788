//! One attempt of a call, read from its tracker.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use super::Timeline;
use super::stage::{StageOutcome, StageTiming};
use crate::call::Call;
use crate::hop::{Outcome, ServerReport, Stage};
use crate::record::{Store, Tracker};

/// One attempt of a call on the wire.
///
/// # Example
///
/// ```no_run
/// # async fn f(client: sevenhops::Client) -> Result<(), sevenhops::Error> {
/// let response = client.get("https://api.test/v1/charges").send().await?;
/// for attempt in response.timeline().into_iter().flat_map(|timeline| timeline.attempts()) {
///     println!("attempt {} to {:?}: {:?}", attempt.number(), attempt.peer_addr(), attempt.outcome());
///     for stage in attempt.stages() {
///         println!("  {} took {:?}", stage.stage().as_str(), stage.duration());
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    pub(crate) number: usize,
    pub(crate) method: Option<Method>,
    pub(crate) url: Option<String>,
    pub(crate) start: Duration,
    pub(crate) duration: Duration,
    pub(crate) stages: Vec<StageTiming>,
    pub(crate) via: Option<String>,
    pub(crate) unix_socket: Option<Arc<Path>>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) affinity_moved: bool,
    pub(crate) reused: bool,
    pub(crate) connection_age: Option<Duration>,
    pub(crate) version: Option<Version>,
    pub(crate) tls: Option<&'static str>,
    pub(crate) alpn: Option<&'static str>,
    pub(crate) tls_resumed: Option<bool>,
    pub(crate) dns_stale: bool,
    /// The rest of the TTL of the DNS records, and whether they came from the cache.
    pub(crate) dns: Option<(Duration, bool)>,
    pub(crate) taken: bool,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) status: Option<StatusCode>,
    pub(crate) server_report: Option<ServerReport>,
    pub(crate) queued: bool,
    pub(crate) is_hedge: bool,
    pub(crate) is_lost: bool,
    pub(crate) calls: Vec<Timeline>,
    pub(crate) outcome: Outcome,
    /// Whether a redirect led to its URL.
    #[cfg(feature = "otel")]
    pub(crate) is_redirected: bool,
    /// Whether a failed lookup needed no query.
    #[cfg(feature = "otel")]
    pub(crate) dns_remembered: bool,
    #[cfg(feature = "har")]
    pub(super) kept: Option<Box<crate::record::KeptHeaders>>,
}

impl Attempt {
    /// Returns its number in the call, counted from 1.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Returns the method, if a redirect changed it.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// Returns the URL without possible secrets, if a redirect or an endpoint changed it.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Returns the time from the beginning of the call to its start.
    #[must_use]
    pub fn start(&self) -> Duration {
        self.start
    }

    /// Returns its duration so far.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Returns its stages, in the order in which it entered them.
    #[must_use]
    pub fn stages(&self) -> &[StageTiming] {
        &self.stages
    }

    /// Returns the proxy, without credentials. With a proxy, dns, connect and the peer belong to the path to the proxy.
    #[must_use]
    pub fn via(&self) -> Option<&str> {
        self.via.as_deref()
    }

    /// Returns the unix socket that it went through. Then there is no peer address, and no lookup.
    #[must_use]
    pub fn unix_socket(&self) -> Option<&Path> {
        self.unix_socket.as_deref()
    }

    /// Returns the address of the peer that responded, or of the last one that was tried.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns the local address of the connection that responded, if it is known. Its port identifies the connection.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Returns whether the session of [`Options::affinity`](crate::Options::affinity) may read older data here than
    /// before: its own address was lost, or came back within the last minute.
    #[must_use]
    pub fn is_affinity_moved(&self) -> bool {
        self.affinity_moved
    }

    /// Returns whether it used an existing connection.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Returns the age of the connection that responded; zero for a new one.
    #[must_use]
    pub fn connection_age(&self) -> Option<Duration> {
        self.connection_age
    }

    /// Returns the HTTP version, if a connection took the request.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Returns the TLS version of the connection, "1.3" or "1.2".
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        self.tls
    }

    /// Returns the protocol that the server chose in the TLS handshake (ALPN): "h2", "http/1.1" or "other".
    #[must_use]
    pub fn alpn(&self) -> Option<&'static str> {
        self.alpn
    }

    /// Returns whether the connection resumed an earlier TLS session, if it is known.
    #[must_use]
    pub fn is_tls_resumed(&self) -> Option<bool> {
        self.tls_resumed
    }

    /// Returns whether the DNS answer was stale: it had expired, and was used because no newer one was received.
    #[must_use]
    pub fn is_dns_stale(&self) -> bool {
        self.dns_stale
    }

    /// Returns the rest of the TTL of the DNS records, if there was a lookup.
    #[must_use]
    pub fn dns_ttl(&self) -> Option<Duration> {
        self.dns.map(|(ttl, _)| ttl)
    }

    /// Returns whether the DNS records came from the cache.
    #[must_use]
    pub fn is_dns_cached(&self) -> bool {
        self.dns.is_some_and(|(_, is_cached)| is_cached)
    }

    /// Returns whether a connection took the request.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.taken
    }

    /// Returns the number of bytes of the request body that were handed over.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Returns the number of bytes of the response body that arrived.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Returns the status, if a response head came. The result of its body is in [`outcome`](Self::outcome).
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Returns the facts in the response head about the path of the response.
    #[must_use]
    pub fn server_report(&self) -> Option<&ServerReport> {
        self.server_report.as_ref()
    }

    /// Returns whether it had to wait for a connection because of the client's connection limit.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.queued
    }

    /// Returns whether it is a hedge: it began while the attempts before it were in flight.
    #[must_use]
    pub fn is_hedge(&self) -> bool {
        self.is_hedge
    }

    /// Returns whether it was cancelled because another attempt of the call was faster.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Returns the calls inside it, in order, if it was an attempt of an [`Operation`](crate::Operation): at most 100
    /// calls of clients of this crate.
    #[must_use]
    pub fn calls(&self) -> &[Timeline] {
        &self.calls
    }

    /// Returns its outcome.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    pub(crate) fn read(number: usize, tracker: &Arc<Tracker>, call: &Call) -> Self {
        let Store {
            stages,
            ended,
            facts,
            ..
        } = tracker.read();
        let timings: Vec<_> = stages
            .iter()
            .map(|stage| StageTiming::read(stage, call))
            .collect();
        let start = tracker.started().saturating_duration_since(call.started());
        let end = ended.unwrap_or_else(crate::clock::now);
        let outcome = match (facts.failed(), facts.status, ended) {
            (Some(diagnosis), ..) => Outcome::from(diagnosis),
            (None, Some(status), _) => Outcome::Responded(status),
            (None, None, _) if facts.is_done => Outcome::Done,
            (None, None, Some(_)) => Outcome::Cancelled,
            (None, None, None) => Outcome::Pending,
        };
        // The last setup is the one that was used, unless another connection was used.
        let setup = |row: &&StageTiming| matches!(row.stage, Stage::Connect | Stage::Tls);
        let connected = timings
            .iter()
            .rfind(setup)
            .is_some_and(|row| row.end != StageOutcome::Abandoned && !row.queued);
        Self {
            number,
            method: facts.method,
            url: facts.url,
            via: facts.via,
            unix_socket: facts.unix_socket,
            start,
            duration: end.saturating_duration_since(tracker.started()),
            peer: facts
                .peer
                .or_else(|| stages.latest(Stage::Connect)?.address),
            local: facts.local,
            affinity_moved: facts.affinity_moved,
            reused: tracker.is_taken() && !connected,
            connection_age: facts.connection_age,
            queued: facts.was_queued,
            version: facts.version,
            tls: facts.tls.map(|session| session.version),
            alpn: facts.tls.and_then(|session| session.alpn),
            tls_resumed: facts.tls.and_then(|session| session.is_resumed),
            dns_stale: facts.stale,
            dns: facts.dns,
            taken: tracker.is_taken(),
            sent_bytes: tracker.sent_bytes(),
            received_bytes: tracker.received_bytes(),
            status: facts.status,
            server_report: facts.said.map(|said| *said),
            is_hedge: facts.is_hedge,
            is_lost: facts.is_lost,
            #[cfg(feature = "otel")]
            is_redirected: facts.is_redirected,
            #[cfg(feature = "otel")]
            dns_remembered: facts.dns_remembered,
            #[cfg(feature = "har")]
            kept: facts.kept,
            calls: call.calls_in(tracker).into_iter().map(Timeline).collect(),
            outcome,
            stages: timings,
        }
    }

    /// Adds to its times the delay since an earlier beginning.
    pub(super) fn delay(&mut self, by: Duration) {
        self.start += by;
        self.stages.iter_mut().for_each(|row| row.start += by);
    }

    /// Returns how long the attempt waited for the connection of another call, instead of opening one.
    #[must_use]
    pub fn time_in_queue(&self) -> Option<Duration> {
        let waits = self.stages.iter().filter(|row| row.queued);
        waits.map(|row| row.duration).reduce(|sum, wait| sum + wait)
    }

    /// Returns how much of the wait for the response the service claims to have used ([`ServerReport::service_time`]).
    /// The rest is the network's time. It is never more than the wait.
    #[must_use]
    pub fn service_time(&self) -> Option<Duration> {
        let claimed = self.server_report.as_ref()?.service_time()?;
        let wait = self.stages.iter().rfind(|row| row.stage == Stage::Wait)?;
        Some(claimed.min(wait.duration))
    }
}
