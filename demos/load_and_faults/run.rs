//! One run: a stack of policies in front of a service in trouble.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::stack::{DEADLINE, Stack};
use crate::world::{Ask, SEED, Trouble, World};
use crate::{BoxError, Result};

/// The outcome of a run.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) stack: Stack,
    pub(crate) trouble: Trouble,
    /// The share of the calls that got a good response.
    pub(crate) succeeded: f64,
    pub(crate) mean: Duration,
    pub(crate) p99: Duration,
    /// Requests at the service, for each call.
    pub(crate) requests: f64,
    /// The share of the requests whose response no call used.
    pub(crate) wasted: f64,
}

/// The calls that have ended: how long each took, and whether it succeeded.
type Ended = Arc<Mutex<Vec<(Duration, bool)>>>;

/// Runs on a clock of its own, which jumps to the next timer as soon as all tasks wait.
pub(crate) fn run(stack: Stack, trouble: Trouble) -> Result<Report> {
    // The policies draw their random numbers from this thread's generator.
    fastrand::seed(SEED);
    let clock = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let ended = Ended::default();
    let requests = clock.block_on(async {
        let world = World::new(trouble);
        let asked = Arc::clone(&world);
        let service = service_fn(move |request| Arc::clone(&asked).answer(request));
        match stack.layer()? {
            Some(layer) => drive(layer.layer(service), trouble, &ended).await,
            None => drive(service, trouble, &ended).await,
        }
        Ok::<_, BoxError>(world.requests())
    })?;
    let mut ended = std::mem::take(&mut *ended.lock().unwrap_or_else(PoisonError::into_inner));
    ended.sort_unstable();
    let calls = ended.len();
    let good = ended.iter().filter(|(_, is_good)| *is_good).count();
    let total: Duration = ended.iter().map(|(took, _)| *took).sum();
    Ok(Report {
        stack,
        trouble,
        succeeded: good as f64 / calls as f64,
        mean: total / u32::try_from(calls)?,
        p99: ended
            .get(calls * 99 / 100)
            .map_or(Duration::ZERO, |(took, _)| *took),
        requests: f64::from(requests) / calls as f64,
        wasted: 1.0 - good as f64 / f64::from(requests),
    })
}

/// Makes a hundred calls a second, and waits for their ends.
async fn drive<S, R>(service: S, trouble: Trouble, ended: &Ended)
where
    S: Service<Ask, Response = Response<R>, Error: Send, Future: Send> + Clone + Send + 'static,
    R: Body<Data: Send> + Send + 'static,
{
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    let mut since = Duration::ZERO;
    while since < RUN {
        sleep_until(begun + since).await;
        for _ in 0..trouble.calls(since) {
            calls.spawn(call(service.clone(), Arc::clone(ended)));
        }
        while calls.try_join_next().is_some() {}
        since += EVERY;
    }
    calls.join_all().await;
}

async fn call<S, R>(service: S, ended: Ended)
where
    S: Service<Ask, Response = Response<R>>,
    R: Body,
{
    let begun = Instant::now();
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = Uri::from_static(URL);
    let answered = async {
        let response = service.oneshot(request).await.ok()?;
        let is_good = response.status().is_success();
        let body = response.into_body().collect().await;
        (is_good && body.is_ok()).then_some(())
    };
    // Without middleware, the caller still gives up.
    let is_good = timeout(DEADLINE, answered)
        .await
        .is_ok_and(|good| good.is_some());
    let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
    ended.push((begun.elapsed(), is_good));
}

const URL: &str = "https://api.test";
const RUN: Duration = Duration::from_secs(40);
const EVERY: Duration = Duration::from_millis(10);
