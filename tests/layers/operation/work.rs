//! Scripted work for an operation.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sevenhops::RetryConfig;
use sevenhops::{
    Error, Operation, OperationAttempt, OperationConfig, OperationError,
    policy::retry::{Backoff, Jitter},
};

use tokio::time::Instant;

pub(super) const MS: fn(u64) -> Duration = Duration::from_millis;
pub(super) const SECS: fn(u64) -> Duration = Duration::from_secs;

/// Returns settings with fixed waits: 100 ms, 200 ms, 400 ms.
pub(super) fn steady() -> RetryConfig {
    let steady = RetryConfig::new().backoff(Backoff::new().jitter(Jitter::None));
    steady.unsent_attempts(3)
}

pub(super) fn settings() -> OperationConfig {
    OperationConfig::new(SECS(10)).retry(steady())
}

pub(super) fn operation() -> Operation {
    Operation::from_config("postgres", settings()).unwrap()
}

/// The result of one attempt.
pub(super) enum Step {
    Unsent,
    Maybe,
    Plain,
    Done,
    Fail(OperationError),
    Hang,
}

/// Scripted work that records when it runs. After its last step, it succeeds.
#[derive(Clone, Default)]
pub(super) struct Work {
    steps: Arc<Mutex<VecDeque<Step>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Work {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let work = Self::default();
        work.steps.lock().unwrap().extend(steps);
        work
    }

    pub(super) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Returns the times between the attempts.
    pub(super) fn waits(&self) -> Vec<Duration> {
        let asked = self.asked.lock().unwrap();
        asked.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    pub(super) async fn once(&self) -> Result<u32, OperationError> {
        self.asked.lock().unwrap().push(Instant::now());
        let step = self.steps.lock().unwrap().pop_front();
        match step.unwrap_or(Step::Done) {
            Step::Unsent => Err(OperationError::not_sent(refused())),
            Step::Maybe => Err(OperationError::unknown("lost")),
            Step::Plain => Err(io::Error::from(ErrorKind::ConnectionReset))?,
            Step::Done => Ok(7),
            Step::Fail(failed) => Err(failed),
            Step::Hang => std::future::pending().await,
        }
    }

    pub(super) async fn by(&self, operation: &Operation) -> Result<u32, Error> {
        operation.run(async |_| self.once().await).await
    }

    /// Runs the work, which asks for its key.
    pub(super) async fn keyed(&self, operation: &Operation) -> Result<u32, Error> {
        let work = async |attempt: OperationAttempt| {
            let _ = attempt.idempotency_key();
            self.once().await
        };
        operation.run(work).await
    }
}

pub(super) fn refused() -> io::Error {
    ErrorKind::ConnectionRefused.into()
}
