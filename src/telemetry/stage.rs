//! The span of a stage of an attempt.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::field::Empty;

#[cfg(feature = "otel")]
use super::otel::Direct;
use super::propagator::{Link, Propagator};
use super::say::{open, record};
use super::span::{Span, TARGET};
#[cfg(feature = "otel")]
use super::spans::mark;
use crate::hop::{Diagnosis, Hop, Kind, Stage};

/// A stage that is open.
#[derive(Debug)]
pub(super) struct StageSpan {
    stage: Stage,
    part: Part,
    /// How it failed, once that is known.
    failure: Option<Diagnosis>,
}

#[derive(Debug)]
enum Part {
    Live(Span),
    /// Made when it is over: nothing hangs below it, and all that may be said of it is how it failed.
    #[cfg(feature = "otel")]
    Later {
        attempt: Direct,
        since: Instant,
    },
}

impl StageSpan {
    pub(super) fn open(stage: Stage, attempt: Span, at: Instant) -> Self {
        let part = match (attempt, stage) {
            #[cfg(feature = "otel")]
            (Span::Direct(attempt), Stage::Send | Stage::Wait | Stage::Receive) => {
                Part::Later { attempt, since: at }
            }
            (attempt, _) => Part::Live(live(stage, &attempt, at)),
        };
        Self {
            stage,
            part,
            failure: None,
        }
    }

    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    /// What more may be said of, as long as it is open.
    pub(super) fn span(&self) -> Option<&Span> {
        match &self.part {
            Part::Live(span) => Some(span),
            #[cfg(feature = "otel")]
            Part::Later { .. } => None,
        }
    }

    /// What leads to it, if a connection is being set up.
    pub(super) fn link(&self, by: Option<&Arc<dyn Propagator>>) -> Option<Link> {
        let set_up = self.span().filter(|_| self.stage == Stage::Connect)?;
        Link::to(set_up, by)
    }

    /// It failed, unless that is known already. Returns what is to be marked, outside of any lock.
    pub(super) fn fail(&mut self, diagnosis: Diagnosis) -> Option<Span> {
        if self.failure.is_some() {
            return None;
        }
        self.failure = Some(diagnosis);
        self.span().cloned()
    }

    /// It is over; with a kind, it failed.
    pub(super) fn close(self, at: Instant, failed: Option<Kind>) {
        let Self {
            stage,
            part,
            failure,
        } = self;
        #[cfg(not(feature = "otel"))]
        let Part::Live(span) = part;
        #[cfg(feature = "otel")]
        let span = match part {
            Part::Live(span) => span,
            Part::Later { attempt, since } => {
                if failure.is_none() && failed.is_none() {
                    return attempt.part(stage.as_str(), (since, at));
                }
                let span = live(stage, &Span::Direct(attempt), since);
                if let Some(diagnosis) = &failure {
                    mark(&span, diagnosis);
                }
                span
            }
        };
        if let (None, Some(kind)) = (failure, failed) {
            overcome(&span, stage, kind);
        }
        span.close(at);
    }
}

/// A set-up that was overcome did nothing. What else failed without a hop, nobody knows more of.
fn overcome(span: &Span, stage: Stage, kind: Kind) {
    let mut diagnosis = Diagnosis::unsent(Hop::Server, kind);
    diagnosis.hop = match stage {
        Stage::Dns => Some(Hop::Dns),
        Stage::Connect => Some(Hop::Connect),
        Stage::Tls => Some(Hop::Tls),
        Stage::Send | Stage::Wait | Stage::Receive => None,
    };
    let effect = diagnosis.hop.map(|_| diagnosis.effect.as_str());
    record!(
        span,
        "sevenhops.hop" = diagnosis.hop.map(Hop::as_str),
        "sevenhops.kind" = kind.as_str(),
        "sevenhops.effect" = effect,
        "error.type" = diagnosis.error_type().into_owned(),
        "otel.status_code" = "ERROR",
    );
}

fn live(stage: Stage, attempt: &Span, at: Instant) -> Span {
    macro_rules! span {
        ($name:literal $(, $more:literal)*) => {
            open!(
                below: attempt,
                at,
                $name,
                $($more = Empty,)*
                "sevenhops.hop" = Empty,
                "sevenhops.kind" = Empty,
                "sevenhops.effect" = Empty,
                "error.type" = Empty,
                "otel.status_code" = Empty,
            )
        };
    }
    match stage {
        Stage::Dns => span!("dns", "dns.question.name", "dns.answers"),
        Stage::Connect => span!(
            "connect",
            "network.peer.address",
            "network.peer.port",
            "network.transport",
            "network.type",
            "sevenhops.queued"
        ),
        Stage::Tls => span!(
            "tls",
            "tls.protocol.name",
            "tls.protocol.version",
            "tls.next_protocol",
            "tls.resumed"
        ),
        Stage::Send => span!("send"),
        Stage::Wait => span!("wait"),
        Stage::Receive => span!("receive"),
    }
}
