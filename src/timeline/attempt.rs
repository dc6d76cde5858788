//! One attempt of a call, read from its tracker.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Version};
use tokio::time::Instant;

use super::Timeline;
use crate::call::Call;
use crate::hop::{Kind, Outcome, ServerReport, Stage};
use crate::record::{End, StageRecord, Store, Tracker};

/// One attempt of a call on the wire.
///
/// # Example
///
/// ```no_run
/// # async fn f(client: sevenhops::Client) -> Result<(), sevenhops::Error> {
/// let response = client.get("https://api.test/v1/charges").send().await?;
/// for attempt in response.timeline().into_iter().flat_map(|timeline| timeline.attempts()) {
///     println!("attempt {} to {:?}: {:?}", attempt.number, attempt.peer, attempt.outcome);
///     for stage in &attempt.stages {
///         println!("  {} took {:?}", stage.stage.as_str(), stage.duration);
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Attempt {
    /// The number of the attempt, counted from 1.
    pub number: usize,
    /// The method, if a redirect changed it.
    pub method: Option<Method>,
    /// The URL without possible secrets, if a redirect changed it.
    pub url: Option<String>,
    /// The time from the beginning of the call to its start.
    pub start: Duration,
    /// Its duration so far.
    pub duration: Duration,
    /// Its stages, in the order in which they were entered.
    pub stages: Vec<StageTiming>,
    /// The proxy, without credentials. With a proxy, dns, connect and the peer are those of the path to the proxy.
    pub via: Option<String>,
    /// The unix socket that it went through. Then there is no peer address, and no lookup.
    pub unix_socket: Option<Arc<Path>>,
    /// The peer that responded, or that was tried last.
    pub peer: Option<SocketAddr>,
    /// The local address of the connection that responded, if it is known. Its port identifies the connection.
    pub local: Option<SocketAddr>,
    /// Whether it used an existing connection.
    pub reused: bool,
    /// The age of the connection that responded; zero for a new one.
    pub connection_age: Option<Duration>,
    /// The HTTP version.
    pub version: Option<Version>,
    /// The TLS version of the connection, "1.3" or "1.2".
    pub tls: Option<&'static str>,
    /// The protocol that the server chose in the TLS handshake (ALPN): "h2", "http/1.1" or "other".
    pub alpn: Option<&'static str>,
    /// Whether the connection resumed an earlier TLS session, if it is known.
    pub tls_resumed: Option<bool>,
    /// Whether the DNS answer was stale: it had expired, and was used because no newer one was received.
    pub dns_stale: bool,
    /// The rest of the TTL of the DNS records, and whether they came from the cache.
    pub dns: Option<(Duration, bool)>,
    /// Whether a connection took the request.
    pub taken: bool,
    /// The number of bytes of the request body that were handed over.
    pub sent_bytes: u64,
    /// The number of bytes of the response body that arrived.
    pub received_bytes: u64,
    /// The status, if a response head came. The result of its body is in `outcome`.
    pub status: Option<StatusCode>,
    /// The facts in the response head about the path of the response.
    pub server_report: Option<ServerReport>,
    /// Whether it had to wait for a connection because of the client's connection limit.
    pub queued: bool,
    /// The calls inside it, in order, if it was an attempt of an [`Operation`](crate::Operation): at most 100 calls of
    /// clients of this crate.
    pub calls: Vec<Timeline>,
    /// Its outcome.
    pub outcome: Outcome,
    /// Whether a failed lookup came from the cache, so that no name server was queried.
    #[cfg(feature = "otel")]
    pub(crate) dns_remembered: bool,
    #[cfg(feature = "har")]
    pub(super) kept: Option<Box<crate::record::KeptHeaders>>,
}

impl Attempt {
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

/// A stage of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageTiming {
    /// The stage.
    pub stage: Stage,
    /// The address of a connect.
    pub address: Option<SocketAddr>,
    /// Whether a connect is a wait for the connection of another call. Then no connection was made.
    pub queued: bool,
    /// When it was entered, from the beginning of the call.
    pub start: Duration,
    /// Its duration so far.
    pub duration: Duration,
    /// Its end.
    pub end: StageOutcome,
}

impl StageTiming {
    fn read(record: &StageRecord, call: &Call) -> Self {
        let StageRecord {
            stage,
            entered,
            ended,
            address,
            is_queue,
        } = *record;
        let since = |at: Instant| at.saturating_duration_since(call.started());
        let start = since(entered);
        let over = ended.map_or_else(|| call.elapsed(), |(at, _)| since(at));
        Self {
            stage,
            address,
            queued: is_queue,
            start,
            duration: over.saturating_sub(start),
            end: match ended {
                None => StageOutcome::InProgress,
                Some((_, End::Left)) => StageOutcome::Completed,
                Some((_, End::Failed(kind))) => StageOutcome::Failed(kind),
                Some((_, End::Abandoned)) => StageOutcome::Abandoned,
            },
        }
    }
}

/// The end of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StageOutcome {
    /// It has not ended.
    InProgress,
    /// It succeeded.
    Completed,
    /// It failed.
    Failed(Kind),
    /// It neither succeeded nor failed: the caller dropped the call, or another connection took the request.
    Abandoned,
}
