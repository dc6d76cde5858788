//! The span of a stage of an attempt.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::field::Empty;

use super::macros::{open, record};
#[cfg(feature = "otel")]
use super::otel::Direct;
use super::propagator::{Link, Propagator};
use super::span::{Span, TARGET};
#[cfg(feature = "otel")]
use super::spans::mark;
use crate::hop::{Diagnosis, Hop, Kind, Stage};

/// An open stage.
#[derive(Debug)]
pub(super) struct StageSpan {
    stage: Stage,
    part: Part,
    /// The failure, once it is known.
    failure: Option<Diagnosis>,
}

#[derive(Debug)]
enum Part {
    Live(Span),
    /// Created when the stage ends: it has no children, and only its failure may be recorded.
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

    /// Returns the span for more fields while the stage is open.
    pub(super) fn span(&self) -> Option<&Span> {
        match &self.part {
            Part::Live(span) => Some(span),
            #[cfg(feature = "otel")]
            Part::Later { .. } => None,
        }
    }

    /// Returns the link to the stage if it is a connection setup.
    pub(super) fn link(&self, by: Option<&Arc<dyn Propagator>>) -> Option<Link> {
        let setup = self.span().filter(|_| self.stage == Stage::Connect)?;
        Link::to(setup, by)
    }

    /// Reports that the stage failed, unless it already failed. Returns the span to be marked outside of any lock.
    pub(super) fn fail(&mut self, diagnosis: Diagnosis) -> Option<Span> {
        if self.failure.is_some() {
            return None;
        }
        self.failure = Some(diagnosis);
        self.span().cloned()
    }

    /// Ends the stage. With a kind, it failed.
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

/// Records a failed stage that did not fail the attempt. A failed setup has no effect. For other stages without a
/// diagnosis, hop and effect are unknown.
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
