use crate::timeout::LONGEST;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::plan::{FaultPlan, PlannedFault};
use super::{ChaosBody, Fault};
use crate::box_error::BoxError;
use crate::call::Call;
use crate::clock;
use crate::hop::{Diagnosis, Stage};
use crate::record::tracker;
use crate::replay::UnsentBody;

pin_project! {
    /// The future of [`ChaosService`](super::ChaosService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ChaosFuture<F, R> {
        #[pin]
        state: ChaosState<F, R>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum ChaosState<F, R> {
        Untouched { #[pin] inner: F },
        Sent { #[pin] inner: F, fault: ActiveFault },
        Unsent { fault: ActiveFault },
        // The fault has happened. The future waits before it returns the result.
        Held { end: Box<Option<ChaosResult<R>>>, until: Pin<Box<Sleep>> },
        Done,
    }
}

type ChaosResult<R> = Result<Response<ChaosBody<R>>, BoxError>;

/// The fault for a request, and where to report it.
pub(super) struct ActiveFault {
    drawn: PlannedFault,
    plan: Arc<FaultPlan>,
    call: Option<Call>,
}

/// The result of a fault, returned now or after a delay.
struct FaultOutcome<R> {
    end: ChaosResult<R>,
    after: Option<Duration>,
}

impl<F, R> ChaosFuture<F, R> {
    pub(super) fn untouched(inner: F) -> Self {
        let state = ChaosState::Untouched { inner };
        Self { state }
    }

    pub(super) fn sent(inner: F, fault: ActiveFault) -> Self {
        let state = ChaosState::Sent { inner, fault };
        Self { state }
    }

    pub(super) fn unsent(fault: ActiveFault) -> Self {
        let state = ChaosState::Unsent { fault };
        Self { state }
    }
}

impl<F, R, E> Future for ChaosFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body,
{
    type Output = ChaosResult<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let outcome = match state.as_mut().project() {
                StateProjected::Untouched { inner } => {
                    let result = ready!(inner.poll(cx)).map_err(Into::into);
                    result.map(|response| response.map(ChaosBody::real)).into()
                }
                StateProjected::Sent { inner, fault } => {
                    match ready!(inner.poll(cx)).map_err(Into::into) {
                        Ok(response) => fault.apply(response),
                        // The service failed before the fault could happen.
                        Err(error) => Err(error).into(),
                    }
                }
                StateProjected::Unsent { fault } => fault.instead(),
                StateProjected::Held { end, until } => {
                    ready!(until.as_mut().poll(cx));
                    let Some(end) = end.take() else {
                        return Poll::Pending;
                    };
                    end.into()
                }
                StateProjected::Done => return Poll::Pending,
            };
            let Some(after) = outcome.after else {
                state.set(ChaosState::Done);
                if let (Err(error), Some(tracker)) = (&outcome.end, tracker::current()) {
                    tracker.hand_back(Diagnosis::foreign(&**error).kind);
                }
                return Poll::Ready(outcome.end);
            };
            state.set(ChaosState::Held {
                end: Box::new(Some(outcome.end)),
                until: Box::pin(sleep(after)),
            });
        }
    }
}

impl ActiveFault {
    pub(super) fn new(drawn: PlannedFault, plan: Arc<FaultPlan>, call: Option<Call>) -> Self {
        Self { drawn, plan, call }
    }

    /// Returns whether this fault sends the request to the service.
    pub(super) fn needs_the_service(&self) -> bool {
        let fault = self.drawn.fault;
        !fault.comes_before_sending() && !matches!(fault, Fault::Respond { .. })
    }

    /// Returns the body to the caller, as a transport does with a body that no connection took.
    pub(super) fn give_back<B: Send + 'static>(&self, request: Request<B>) {
        let (head, body) = request.into_parts();
        let unsent = head.extensions.get::<UnsentBody<B>>();
        if let Some(unsent) = unsent.filter(|_| self.drawn.fault.comes_before_sending()) {
            unsent.put(body);
        }
    }

    /// Applies the fault to a response from the service.
    fn apply<R: Body>(&self, response: Response<R>) -> FaultOutcome<R> {
        let PlannedFault { fault, delay } = self.drawn;
        if fault == Fault::BreakBody && response.body().is_end_stream() {
            return Ok(response.map(ChaosBody::real)).into();
        }
        if let Some(tracker) = tracker::current() {
            // A service that is not a transport of this crate reports no stages. The attempt waits for the response.
            tracker.waiting(clock::now());
        }
        self.note();
        match fault {
            Fault::Delay(_) => FaultOutcome {
                end: Ok(response.map(ChaosBody::real)),
                after: delay,
            },
            Fault::BreakBody => {
                let broken = response.map(|_lost| ChaosBody::broken(fault.error()));
                Ok(broken).into()
            }
            // The wait ends, but later than every possible timeout.
            Fault::Silence => FaultOutcome {
                end: Err(fault.error()),
                after: Some(LONGEST),
            },
            _ => Err(fault.error()).into(),
        }
    }

    /// Applies the fault without a request to the service.
    fn instead<R>(&self) -> FaultOutcome<R> {
        self.note();
        let fault = self.drawn.fault;
        let tracker = tracker::current();
        let play = |stage| {
            if let Some(tracker) = &tracker {
                tracker.begin();
                tracker.enter(stage);
            }
        };
        match fault {
            Fault::Respond {
                status,
                retry_after,
            } => {
                if let Some(tracker) = &tracker {
                    // No replica was asked, so the session reads nothing.
                    tracker.facts(|facts| facts.is_session_kept = true);
                } else if let Some(call) = &self.call {
                    call.keep_session();
                }
                return Ok(generated(status, retry_after)).into();
            }
            Fault::RefuseConnect | Fault::BlackholeConnect => play(Stage::Connect),
            _ => play(Stage::Send),
        }
        let limit = || {
            let limit = tracker.as_ref().map(|tracker| tracker.timeouts().connect());
            limit.map_or(KERNEL_GIVES_UP, |limit| limit)
        };
        FaultOutcome {
            end: Err(fault.error()),
            after: (fault == Fault::BlackholeConnect).then(limit),
        }
    }

    fn note(&self) {
        self.plan.note(self.call.as_ref(), self.drawn);
    }
}

impl<R> From<ChaosResult<R>> for FaultOutcome<R> {
    fn from(end: ChaosResult<R>) -> Self {
        Self { end, after: None }
    }
}

fn generated<R>(status: StatusCode, retry_after: Option<Duration>) -> Response<ChaosBody<R>> {
    let mut response = Response::new(ChaosBody::text(GENERATED_BODY));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if let Some(wait) = retry_after {
        let secs = wait
            .as_secs()
            .saturating_add(u64::from(wait.subsec_nanos() > 0));
        headers.insert(RETRY_AFTER, secs.into());
    }
    response
}

impl<F, R> fmt::Debug for ChaosFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosFuture").finish_non_exhaustive()
    }
}

const GENERATED_BODY: &str = "chaos: this response was generated, and the request was not sent\n";
/// Used if no attempt layer above sets a connect timeout: Linux gives up after six unanswered SYNs.
const KERNEL_GIVES_UP: Duration = Duration::from_secs(127);
