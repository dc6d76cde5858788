//! What happened in a call: its attempts, their stages, and how it ended.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};

use super::facts::Facts;
use super::log::{End, Event};
use super::tracker::Tracker;
use super::waterfall::Waterfall;
use super::{Diagnosis, Effect, Hop, Kind, NotRepeated, Note};
use crate::call::Call;
use crate::limit::Waited;

/// What happened in a call.
///
/// A live view: it can be taken before the call ends, and shows what is known when it is asked.
/// `Display` draws the waterfall, at most 80 columns wide and without colours.
///
/// # Example
///
/// ```no_run
/// # async fn f(client: sevenhops::Client) -> Result<(), sevenhops::Error> {
/// let response = client.get("https://api.test/v1/charges").send().await?;
/// let timeline = response.timeline().cloned();
/// let body = response.bytes().await?;
/// println!("{}", timeline.unwrap()); // to the last byte
/// # drop(body); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Timeline(pub(crate) Call);

impl Timeline {
    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.0.method()
    }

    /// The request's URL without what may be secret: userinfo, query and fragment.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// The route name that was given to the request for telemetry.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.0.route()
    }

    /// When the call began, by the wall clock.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.0.started_at()
    }

    /// How long the call took, or has taken so far.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The attempts, in order.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        let trackers = self.0.trackers().into_iter();
        let numbered = trackers.enumerate();
        numbered
            .map(|(at, tracker)| Attempt::read(at + 1, &tracker, &self.0))
            .collect()
    }

    /// How many attempts there were.
    #[must_use]
    pub fn attempt_count(&self) -> u32 {
        self.0.attempt_count()
    }

    /// What happened between the attempts, in order: waits, redirects, refusals.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        self.0.notes()
    }

    /// Why the last failure was not repeated, if there was one that was not.
    #[must_use]
    pub fn not_repeated(&self) -> Option<NotRepeated> {
        self.0.not_repeated()
    }

    /// Whether the call may have happened, by all its attempts so far: the greatest of their effects.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.0.effect()
    }

    /// How the call ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match (self.0.failure(), self.0.ended()) {
            (Some(diagnosis), _) => Some(Outcome::from(diagnosis)),
            (None, None) => None,
            (None, Some(_)) if !self.0.is_answered() => Some(Outcome::Cancelled),
            (None, Some(_)) => match self.attempts().pop() {
                Some(last) => Some(last.outcome),
                None => Some(Outcome::Cancelled),
            },
        }
    }

    /// The waterfall, with a choice of colour.
    #[must_use]
    pub fn waterfall(&self) -> Waterfall<'_> {
        Waterfall::new(self)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.waterfall().fmt(f)
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline")
            .field("method", self.method())
            .field("url", &self.url())
            .field("elapsed", &self.elapsed())
            .field("attempts", &self.attempts())
            .field("outcome", &self.outcome())
            .finish()
    }
}

/// A stretch of an attempt's time. The wait is shared by the gateway and the server hop.
#[expect(clippy::exhaustive_enums, reason = "the journey is not getting longer")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    /// A name is being looked up; a cached answer enters no such stage.
    Dns,
    /// A TCP connection is being made (and a tunnel through a proxy, where there is one).
    Connect,
    /// The TLS handshake.
    Tls,
    /// From a usable connection to the last byte of the request.
    Send,
    /// From the last byte of the request to the head of the response.
    Wait,
    /// From the head of the response to its last byte.
    Receive,
}

impl Stage {
    /// All of them, in the order of the journey.
    pub const ALL: [Self; 6] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Send,
        Self::Wait,
        Self::Receive,
    ];

    /// The word for it, as in spans and timelines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Wait => "wait",
            Self::Receive => "receive",
        }
    }

    /// The stage in which a hop can fail; none for the two local ends.
    #[must_use]
    pub const fn of(hop: Hop) -> Option<Self> {
        match hop {
            Hop::Dns => Some(Self::Dns),
            Hop::Connect => Some(Self::Connect),
            Hop::Tls => Some(Self::Tls),
            Hop::Send => Some(Self::Send),
            Hop::Gateway | Hop::Server => Some(Self::Wait),
            Hop::Receive => Some(Self::Receive),
            Hop::Encode | Hop::Decode => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One try of a call on the wire.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Counted from 1.
    pub number: usize,
    /// The URL, without what may be secret, where a redirect led to another than the call's.
    pub url: Option<String>,
    /// When it began, from the beginning of the call.
    pub start: Duration,
    /// How long it took, or has taken so far.
    pub duration: Duration,
    /// Its stages, in the order in which they were entered.
    pub rows: Vec<Row>,
    /// The proxy that it went through, without credentials: dns, connect and the peer are then those of
    /// the way to the proxy.
    pub via: Option<String>,
    /// The peer that answered, or that was tried last.
    pub peer: Option<SocketAddr>,
    /// Whether a connection was used that had been made before.
    pub reused: bool,
    /// How old the connection was that answered; zero for one that was made for it.
    pub connection_age: Option<Duration>,
    /// The version of HTTP that was spoken.
    pub version: Option<Version>,
    /// The version of TLS, "1.3" or "1.2", on the connection that was used.
    pub tls: Option<&'static str>,
    /// Whether the DNS answer was stale: over, and used because nobody said anything newer.
    pub dns_stale: bool,
    /// What was left of the DNS answer's TTL, and whether it came from the cache.
    pub dns: Option<(Duration, bool)>,
    /// Whether a connection took the request.
    pub taken: bool,
    /// Bytes of the request body that were handed over.
    pub sent_bytes: u64,
    /// Bytes of the response body that arrived.
    pub received_bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl Attempt {
    fn read(number: usize, tracker: &Tracker, call: &Call) -> Self {
        let facts = tracker.facts(|facts| facts.clone());
        let rows = rows(tracker, &facts, call);
        let start = tracker.started().saturating_duration_since(call.started());
        let end = tracker.ended().unwrap_or_else(crate::clock::now);
        let outcome = match (tracker.failure(), tracker.status(), tracker.ended()) {
            (Some(diagnosis), ..) => Outcome::from(diagnosis),
            (None, Some(status), _) => Outcome::Answered(status),
            (None, None, Some(_)) => Outcome::Cancelled,
            (None, None, None) => Outcome::Pending,
        };
        // The set-up that came last is the one that was used, unless another one was.
        let set_up = |row: &&Row| matches!(row.stage, Stage::Connect | Stage::Tls);
        let connected = rows
            .iter()
            .rfind(set_up)
            .is_some_and(|row| row.end != RowEnd::Abandoned);
        Self {
            number,
            url: facts.url,
            via: facts.via,
            start,
            duration: end.saturating_duration_since(tracker.started()),
            peer: facts.peer.or_else(|| facts.dials.last().copied()),
            reused: tracker.is_tracked() && tracker.is_taken() && !connected,
            connection_age: facts.connection_age,
            version: facts.version,
            tls: facts.tls,
            dns_stale: facts.stale,
            dns: facts.dns,
            taken: tracker.is_taken(),
            sent_bytes: tracker.sent_bytes(),
            received_bytes: tracker.received_bytes(),
            outcome,
            rows,
        }
    }
}

/// A stage of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// Which.
    pub stage: Stage,
    /// The address that was dialled, for a connect.
    pub address: Option<SocketAddr>,
    /// When it was entered, from the beginning of the call.
    pub start: Duration,
    /// How long it took, or has taken so far.
    pub duration: Duration,
    /// How it ended.
    pub end: RowEnd,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowEnd {
    /// It has not.
    Open,
    /// Well.
    Left,
    /// It failed.
    Failed(Kind),
    /// Neither: the caller went away, or another connection took the request.
    Abandoned,
}

/// How an attempt or a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It has not.
    Pending,
    /// With an answer that is no failure.
    Answered(StatusCode),
    /// It failed.
    Failed {
        /// Where; none if a guard refused it.
        hop: Option<Hop>,
        /// How.
        kind: Kind,
        /// Whether it may have happened.
        effect: Effect,
        /// Which limit ran out, if one did.
        expired: Option<Waited>,
        /// The status, if there was an answer.
        status: Option<StatusCode>,
    },
    /// The caller went away.
    Cancelled,
}

impl From<Diagnosis> for Outcome {
    fn from(diagnosis: Diagnosis) -> Self {
        Self::Failed {
            hop: diagnosis.hop,
            kind: diagnosis.kind,
            effect: diagnosis.effect,
            expired: diagnosis.expired,
            status: diagnosis.status,
        }
    }
}

fn rows(tracker: &Tracker, facts: &Facts, call: &Call) -> Vec<Row> {
    let offset = tracker.started().saturating_duration_since(call.started());
    let mut dials = facts.dials.iter().copied();
    let mut overcome = facts.overcome.iter().copied();
    let failed = tracker
        .failure()
        .map_or(Kind::Other, |failure| failure.kind);
    let mut rows: Vec<Row> = Vec::new();
    for (stage, event, at) in tracker.events() {
        match event {
            Event::Entered => rows.push(Row {
                stage,
                address: (stage == Stage::Connect).then(|| dials.next()).flatten(),
                start: offset + at,
                duration: Duration::ZERO,
                end: RowEnd::Open,
            }),
            Event::Ended(end) => {
                let open = |row: &&mut Row| row.stage == stage && row.end == RowEnd::Open;
                if let Some(row) = rows.iter_mut().rev().find(open) {
                    row.duration = (offset + at).saturating_sub(row.start);
                    row.end = match end {
                        End::Left => RowEnd::Left,
                        End::Failed => RowEnd::Failed(overcome.next().unwrap_or(failed)),
                        End::Abandoned => RowEnd::Abandoned,
                    };
                }
            }
        }
    }
    let now = call.elapsed();
    for row in rows.iter_mut().filter(|row| row.end == RowEnd::Open) {
        row.duration = now.saturating_sub(row.start);
        if tracker.ended().is_some() {
            // Two hands wrote at once, and the end stands before the beginning.
            row.end = RowEnd::Left;
        }
    }
    rows
}
