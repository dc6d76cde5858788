//! The faults of policies: rejections, missing retries, and the errors that the caller gets.
//!
//! Each case has its own client, so that no other case opens its breaker or spends its budget.

use std::error::Error as StdError;
use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri};
use sevenhops::CircuitBreakerConfig;
use sevenhops::IdempotencyConfig;
use sevenhops::RetryConfig;
use sevenhops::TimeoutsConfig;
use sevenhops::{
    Blame, ClientBuilder, Destination, Effect, Error, Hop, IdempotencyKey, Kind, Policy, Timeline,
    hop::{NoRetryReason, Outcome, TimelineEventKind},
    policy::{
        breaker::CircuitState,
        retry::{Backoff, Budget},
    },
    testing::{CannedResponse, ConnFault, FaultServer, Reply},
    timeout::TimeoutKind,
};

use super::run::{Report, call, seen};
use super::tape::Tape;
use super::world::{Connection, Result, Stage, World};

/// The hop, the kind and the effect. Without a hop, a policy rejected the request.
pub(crate) type Named = (Option<Hop>, Kind, Effect);

/// One fault of the policies.
pub(crate) struct GuardCase {
    pub(crate) fault: &'static str,
    pub(crate) story: &'static str,
    /// The name of the last failed attempt. `None` if no failure is to be reported.
    pub(crate) expected: Option<Named>,
    setting: Setting,
}

#[derive(Clone, Copy, Debug)]
enum Setting {
    BreakerOpen,
    BudgetEmpty,
    LongWait(StatusCode),
    DeadlineInTls,
    Dropped,
    KeyInProgress,
    KeyReused,
}

#[rustfmt::skip] // a table
pub(crate) fn all() -> Vec<GuardCase> {
    use Hop::{Server, Tls};
    let case = |fault, story, expected, setting| GuardCase { fault, story, expected, setting };
    vec![
        case("F25", "the breaker is open", Some((None, Kind::CircuitOpen, Effect::None)), Setting::BreakerOpen),
        case("F27", "the retry budget is empty", Some((Some(Server), Kind::Unavailable, Effect::Possible)), Setting::BudgetEmpty),
        case("F28", "503, and to come back after the deadline", Some((Some(Server), Kind::Unavailable, Effect::Possible)), Setting::LongWait(StatusCode::SERVICE_UNAVAILABLE)),
        case("F28", "429, and to come back after the deadline", Some((Some(Server), Kind::Throttled, Effect::Declined)), Setting::LongWait(StatusCode::TOO_MANY_REQUESTS)),
        case("F29", "the deadline passes in attempt 2's handshake", Some((Some(Tls), Kind::Timeout, Effect::None)), Setting::DeadlineInTls),
        case("F30", "the caller drops the call while it connects", None, Setting::Dropped),
        case("F32", "409: the key's first request is worked on", Some((Some(Server), Kind::InProgress, Effect::Possible)), Setting::KeyInProgress),
        case("F32", "422: the key was used for something else", Some((Some(Server), Kind::KeyReused, Effect::Declined)), Setting::KeyReused),
    ]
}

/// The outcome of one case.
pub(crate) struct GuardReport {
    pub(crate) report: Report,
    pub(crate) named: Option<Named>,
    /// The claims that do not hold.
    pub(crate) wrong: Vec<&'static str>,
}

impl GuardReport {
    /// Creates a report after the end of the call. `before` is the number of requests that the server had seen before
    /// it.
    fn new(stage: &Stage, before: usize, called: Called) -> Self {
        let (error, timeline) = match called {
            Ok(timeline) => (None, timeline),
            Err(error) => {
                let timeline = error.timeline().cloned();
                (Some(error), timeline)
            }
        };
        let attempts = timeline.as_ref().map(Timeline::attempts);
        let attempts = attempts.unwrap_or_default();
        let failed = attempts.iter().rev().find_map(|last| match last.outcome() {
            Outcome::Failed {
                hop, kind, effect, ..
            } => Some((hop, kind, effect)),
            _ => None,
        });
        let by_error = |error: &Error| (error.hop(), error.kind(), error.effect());
        let sent = attempts.iter().filter(|attempt| attempt.is_taken()).count();
        let requests = (seen(stage) - before, sent);
        let mut report = Self {
            named: error.as_ref().map(by_error).or(failed),
            report: Report {
                error,
                timeline,
                requests,
                right: true,
            },
            wrong: Vec::new(),
        };
        report.check("the server saw what was claimed", requests.0 == requests.1);
        report
    }

    fn check(&mut self, what: &'static str, holds: bool) {
        if !holds {
            self.wrong.push(what);
            self.report.right = false;
        }
    }

    /// Checks a property of the error. Fails if there is no error.
    fn check_error(&mut self, what: &'static str, holds: impl FnOnce(&Error) -> bool) {
        let holds = self.report.error.as_ref().is_some_and(holds);
        self.check(what, holds);
    }

    fn attempts(&self) -> usize {
        let timeline = self.report.timeline.as_ref();
        timeline.map_or(0, |timeline| timeline.attempts().len())
    }
}

type Called = std::result::Result<Option<Timeline>, Error>;

impl GuardCase {
    /// Causes the fault, makes the call, and checks the report.
    pub(crate) async fn run(&self, world: &World) -> Result<GuardReport> {
        let mut report = match self.setting {
            Setting::BreakerOpen => breaker_open(world).await,
            Setting::BudgetEmpty => budget_empty(world).await,
            Setting::LongWait(status) => long_wait(world, status).await,
            Setting::DeadlineInTls => deadline_in_tls(world).await,
            Setting::Dropped => dropped(world).await,
            Setting::KeyInProgress => key_in_progress(world).await,
            Setting::KeyReused => key_reused(world).await,
        }?;
        let named = report.named == self.expected;
        report.check("hop, kind and effect", named);
        Ok(report)
    }
}

/// F25: two calls fail, and the third is rejected before anything is sent.
async fn breaker_open(world: &World) -> Result<GuardReport> {
    let stage = staged(world, |builder| {
        builder.config(|config| config.circuit_breaker(CircuitBreakerConfig::new().min_attempts(2)))
    });
    let stage = stage.await?;
    server(&stage)?.on_request([Reply::CloseAfterRequest, Reply::CloseAfterRequest]);
    for _ in 0..2 {
        if call(&stage).await.is_ok() {
            return Err("the call that is to open the breaker was answered".into());
        }
    }
    let before = seen(&stage);
    let mut report = GuardReport::new(&stage, before, call(&stage).await);
    report.check("nothing is sent", report.report.requests == (0, 0));
    report.check("no attempt is made", report.attempts() == 0);
    report.check_error("rejected by the breaker", |error| {
        error.rejected_by() == Some(Policy::Breaker) && error.blame() == Blame::Server
    });
    report.check_error("says when to come back", |error| {
        let open = Duration::from_secs(4)..=Duration::from_secs(6);
        error.retry_after().is_some_and(|wait| open.contains(&wait))
    });
    report.check_error("keeps what opened it", |error| {
        let cause = error.source();
        let why = cause.map(ToString::to_string);
        let last = cause.and_then(StdError::source).map(ToString::to_string);
        why.as_deref() == Some("2 of 2 attempts failed, 2 at server (closed)")
            && last.as_deref() == Some("server: closed")
    });
    Ok(report)
}

/// F27: the budget pays for one retry, and the retry fails too.
async fn budget_empty(world: &World) -> Result<GuardReport> {
    // A call pays for one retry, and there are no savings.
    let budget = Budget::new().ratio(1.0).min_retries_per_second(0);
    let stage = staged(world, |builder| {
        vouched(builder).config(|config| config.retry(three(budget)))
    })
    .await?;
    server(&stage)?.default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
    let mut report = GuardReport::new(&stage, 0, call(&stage).await);
    report.check("one retry of the two", report.attempts() == 2);
    report.check_error("the last real failure", |error| {
        error.status() == Some(StatusCode::SERVICE_UNAVAILABLE)
    });
    report.check_error("the reason beside it", |error| {
        error.no_retry_reason() == Some(NoRetryReason::BudgetExhausted)
    });
    Ok(report)
}

/// F28: the server asks for a longer wait than the deadline allows.
async fn long_wait(world: &World, status: StatusCode) -> Result<GuardReport> {
    const ASKED: Duration = Duration::from_secs(60);
    let stage = staged(world, vouched).await?;
    let answer = CannedResponse::new(status)
        .header("retry-after", "60")
        .body("busy");
    server(&stage)?.on_request([Reply::from(answer)]);
    let mut response = stage.client.post(&stage.url).send().await?;
    let real = response.status() == status && response.headers().contains_key("retry-after");
    let body = response.chunk().await?;
    let called = response.error_for_status();
    let called = called.map(|response| response.timeline().cloned());

    let mut report = GuardReport::new(&stage, 0, called);
    let whole = body.is_some_and(|body| *body == *b"busy");
    report.check("the real response, head and body", real && whole);
    report.check("one attempt", report.attempts() == 1);
    report.check_error("at once", |error| {
        let timeline = error.timeline();
        timeline.is_some_and(|timeline| timeline.elapsed() < Duration::from_secs(5))
    });
    report.check_error("the hint", |error| error.retry_after() == Some(ASKED));
    report.check_error("the reason beside it", |error| {
        matches!(error.no_retry_reason(), Some(NoRetryReason::HintTooLong { hint: ASKED, most }) if most < ASKED)
    });
    Ok(report)
}

/// F29: silence instead of a handshake, twice. The deadline ends the call before the second tls timeout.
async fn deadline_in_tls(world: &World) -> Result<GuardReport> {
    let timeouts = TimeoutsConfig::new().tls(Duration::from_millis(500));
    let stage = staged(world, |builder| {
        let retry = three(Budget::new()).unsent_attempts(2);
        builder.config(|config| config.timeouts(timeouts).retry(retry))
    });
    let stage = stage.await?;
    let far_side = server(&stage)?;
    far_side.on_connection([ConnFault::Silent, ConnFault::Silent]);
    let request = stage.client.post(&stage.url).body("amount=100");
    let called = request
        .options(|options| options.deadline(Duration::from_millis(800)))
        .send()
        .await;
    let stats = far_side.stats();
    let called = called.map(|response| response.timeline().cloned());
    let mut report = GuardReport::new(&stage, 0, called);
    report.check("two attempts", report.attempts() == 2);
    report.check(
        "two connections, no session",
        (stats.connections, stats.handshakes) == (2, 0),
    );
    report.check("nothing is sent", report.report.requests == (0, 0));
    report.check_error("the deadline ran out", |error| {
        error.timeout_kind() == Some(TimeoutKind::Deadline)
    });
    report.check_error("the reason beside it", |error| {
        matches!(error.no_retry_reason(), Some(NoRetryReason::DeadlineTooClose { left, .. }) if left.is_zero())
    });
    Ok(report)
}

/// F30: the breaker's only probe is dropped during its handshake.
async fn dropped(world: &World) -> Result<GuardReport> {
    const OPEN: Duration = Duration::from_millis(1);
    let stage = staged(world, |builder| {
        let breaker = CircuitBreakerConfig::new().consecutive_failures(1);
        builder.config(|config| {
            config.circuit_breaker(breaker.break_duration(OPEN).max_break_duration(OPEN))
        })
    });
    let stage = stage.await?;
    let far_side = server(&stage)?;
    far_side.on_connection([ConnFault::Behave, ConnFault::Silent]);
    far_side.on_request([Reply::CloseAfterRequest]);
    let destination = Destination::of(&stage.url.parse::<Uri>()?).ok_or("no destination")?;
    let state = || stage.client.breaker_handle().state(&destination);
    let opened = call(&stage).await.is_err() && state() == CircuitState::Open;
    tokio::time::sleep(OPEN * 2).await;

    let tape = Tape::default();
    tokio::select! {
        _ = tape.listen(call(&stage)) => return Err("a silent server has answered".into()),
        _ = far_side.wait_until(|stats| stats.connections == 2) => {}
    }
    let after = state();
    let before = seen(&stage);
    let mut report = GuardReport::new(&stage, before, call(&stage).await);
    report.check("the breaker was open", opened);
    report.check("the call had begun to connect", tape.began("connect"));
    report.check("no span is marked as failed", tape.failures() == 0);
    report.check("the probe is not charged", after == CircuitState::HalfOpen);
    // Otherwise the next call would be rejected until the lease of the dropped probe ends.
    let served = report.report.error.is_none() && report.report.requests == (1, 1);
    report.check("its permit is given back: the next call is let in", served);
    report.check("and closes the circuit", state() == CircuitState::Closed);
    Ok(report)
}

/// F32: the response is lost, and the retry with the same key arrives while the server still works.
async fn key_in_progress(world: &World) -> Result<GuardReport> {
    let stage = staged(world, |builder| {
        vouched(builder).config(|config| config.retry(three(Budget::new())))
    })
    .await?;
    let conflict = CannedResponse::new(StatusCode::CONFLICT);
    server(&stage)?.on_request([Reply::CloseAfterRequest, conflict.into()]);
    let mut report = GuardReport::new(&stage, 0, call(&stage).await);
    report.check("the third attempt is answered", {
        report.report.error.is_none() && report.attempts() == 3
    });
    let notes = report.report.timeline.as_ref().map(Timeline::events);
    let waited = |what: &TimelineEventKind| matches!(what, TimelineEventKind::Waited { .. });
    let waits = notes.iter().flatten().filter(|note| waited(&note.kind));
    report.check("a delay before each retry", waits.count() == 2);
    report.check("one key, three times", one_key(&stage)? == 3);
    Ok(report)
}

/// F32: the key was already used for another request.
async fn key_reused(world: &World) -> Result<GuardReport> {
    let stage = staged(world, vouched).await?;
    let reused = CannedResponse::new(StatusCode::UNPROCESSABLE_ENTITY);
    server(&stage)?.on_request([Reply::from(reused)]);
    // The caller's own key. A generated key cannot have been used before.
    let key = IdempotencyKey::new("order-4711")?;
    let request = stage.client.post(&stage.url);
    let request = request.options(|options| options.idempotency_key(key));
    let called = request.body("amount=100").send().await;
    let called = called.and_then(|response| response.error_for_status());
    let called = called.map(|response| response.timeline().cloned());
    let mut report = GuardReport::new(&stage, 0, called);
    report.check("one attempt", report.attempts() == 1);
    report.check("with the key", one_key(&stage)? == 1);
    report.check_error("it blames the client", |error| {
        error.blame() == Blame::Client
    });
    report.check_error("and why it is not retried", |error| {
        error.no_retry_reason() == Some(NoRetryReason::Permanent)
    });
    Ok(report)
}

/// Sets up a stage with its own client.
async fn staged(
    world: &World,
    change: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<Stage> {
    let mut stage = world.stage(Connection::Fresh, true).await?;
    stage.client = world.client_with(change)?;
    Ok(stage)
}

/// Declares that every service here honors keys.
fn vouched(builder: ClientBuilder) -> ClientBuilder {
    builder.config(|config| config.idempotency(IdempotencyConfig::new().honored_by_all(true)))
}

/// Returns retry settings of three attempts with this budget.
fn three(budget: Budget) -> RetryConfig {
    let soon = Backoff::new().base(Duration::from_millis(20));
    RetryConfig::new().attempts(3).backoff(soon).budget(budget)
}

fn server(stage: &Stage) -> Result<&FaultServer> {
    stage.server.as_ref().ok_or_else(|| "no server".into())
}

/// Returns how many requests had a key, if all keys are the same.
fn one_key(stage: &Stage) -> Result<usize> {
    let key = |headers: &HeaderMap| headers.get("idempotency-key").cloned();
    let keys: Vec<_> = server(stage)?
        .requests()
        .iter()
        .filter_map(|seen| key(&seen.headers))
        .collect();
    let same = keys.windows(2).all(|pair| pair[0] == pair[1]);
    Ok(if same { keys.len() } else { 0 })
}
