//! One run: a stack of policies over a service that fails.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use sevenhops::{
    AttemptLayer, CircuitBreakerLayer, DeadlineLayer, RetryConfig, RetryLayer, Timeouts,
    policy::{breaker::CircuitBreakerHandle, retry::Budget},
};

use tokio::runtime::Builder;
use tokio::time::{sleep, sleep_until};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::backend::{Ask, Backend, SEED, Trouble};
use crate::ledger::Ledger;
use crate::{BoxError, Result};

/// The policies between the callers and the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policies {
    None,
    Retry,
    RetryBudget,
    RetryBudgetBreaker,
}

impl Policies {
    pub(crate) const ALL: [Self; 4] = [
        Self::None,
        Self::Retry,
        Self::RetryBudget,
        Self::RetryBudgetBreaker,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Retry => "retry",
            Self::RetryBudget => "retry + budget",
            Self::RetryBudgetBreaker => "retry + budget + breaker",
        }
    }
}

/// The outcome of a run.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) policies: Policies,
    pub(crate) trouble: Trouble,
    pub(crate) load: f64,
    pub(crate) busiest: f64,
    /// The share of calls that succeeded.
    pub(crate) succeeded: f64,
    pub(crate) wasted: u32,
    pub(crate) full_again: Duration,
    pub(crate) open_time: Option<Duration>,
}

/// Runs on a clock of its own, which jumps to the next timer as soon as all tasks wait.
pub(crate) fn run(policies: Policies, trouble: Trouble) -> Result<Report> {
    let failing_for = match trouble == Trouble::Fails(1.0) {
        true => WHOLLY,
        false => PARTLY,
    };
    // The policies draw backoff and open times from this thread's random numbers.
    fastrand::seed(SEED);
    let clock = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let ledger = clock.block_on(async {
        let ledger = Arc::new(Ledger::new(failing_for));
        policy(policies, trouble, &ledger).await?;
        Ok::<_, BoxError>(ledger)
    })?;
    let phase = ledger.failing_phase();
    Ok(Report {
        policies,
        trouble,
        load: phase.load(),
        busiest: ledger.busiest(),
        succeeded: f64::from(phase.succeeded) / f64::from(phase.calls),
        wasted: phase.failed,
        full_again: ledger.full_again(),
        open_time: ledger.open_time(),
    })
}

/// Puts the policies around the service, and calls it through them.
async fn policy(policies: Policies, trouble: Trouble, ledger: &Arc<Ledger>) -> Result<()> {
    let backend = Backend::new(Arc::clone(ledger), trouble);
    let service = service_fn(move |request| Arc::clone(&backend).answer(request));
    let timeouts = Timeouts::new(DEADLINE)?;
    let retry = |budget| RetryLayer::new(RetryConfig::new().attempts(3).budget(budget));
    let stack = ServiceBuilder::new().layer(DeadlineLayer::new(DEADLINE)?);
    let attempt = AttemptLayer::new(timeouts);
    match policies {
        Policies::None => drive(service, ledger).await,
        Policies::Retry => {
            let stack = stack.layer(retry(Budget::unlimited())?).layer(attempt);
            drive(stack.service(service), ledger).await;
        }
        Policies::RetryBudget => {
            let stack = stack.layer(retry(Budget::new())?).layer(attempt);
            drive(stack.service(service), ledger).await;
        }
        Policies::RetryBudgetBreaker => {
            let breaker = CircuitBreakerLayer::new(timeouts);
            watch(&breaker.breaker_handle(), ledger)?;
            let stack = stack.layer(retry(Budget::new())?).layer(breaker);
            drive(stack.layer(attempt).service(service), ledger).await;
        }
    }
    Ok(())
}

/// Notes the breaker's states during the run.
fn watch(breaker: &CircuitBreakerHandle, ledger: &Arc<Ledger>) -> Result<()> {
    let mut watcher = breaker.watch(&URL.parse()?);
    let ledger = Arc::clone(ledger);
    tokio::spawn(async move {
        loop {
            let state = watcher.changed().await;
            ledger.turned(state);
        }
    });
    Ok(())
}

/// Makes a thousand calls a second, until long after the recovery of the service.
async fn drive<S, R>(service: S, ledger: &Arc<Ledger>)
where
    S: Service<Ask, Response = Response<R>, Future: Send> + Clone + Send + 'static,
    S::Error: Send,
    R: Body<Data: Send> + Send + 'static,
{
    let mut next = Duration::ZERO;
    let recovers = ledger.recovers();
    while next < recovers || (next < recovers + LONGEST && !ledger.is_full_for(STEADY_SLOTS)) {
        sleep_until(ledger.start() + next).await;
        next += EVERY;
        tokio::spawn(call(service.clone(), Arc::clone(ledger)));
    }
    // The last calls end, too.
    sleep(DEADLINE).await;
}

async fn call<S, R>(service: S, ledger: Arc<Ledger>)
where
    S: Service<Ask, Response = Response<R>>,
    R: Body,
{
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from_static(URL);
    let called = ledger.called();
    let Ok(response) = service.oneshot(request).await else {
        return;
    };
    let well = response.status().is_success();
    let received = response.into_body().collect().await.is_ok();
    if well && received {
        ledger.succeeded(called);
    }
}

const URL: &str = "https://api.test";
const DEADLINE: Duration = Duration::from_secs(10);
/// A thousand calls a second.
pub(crate) const EVERY: Duration = Duration::from_millis(1);
/// After two seconds of full traffic in a row, it is not going to stop again.
const STEADY_SLOTS: usize = 20;
/// The longest open time of a breaker, and more.
const LONGEST: Duration = Duration::from_secs(150);
/// How long the service fails: long enough for a budget to be spent twice over,
const PARTLY: Duration = Duration::from_secs(20);
/// and for a breaker to have opened several times.
const WHOLLY: Duration = Duration::from_secs(60);
