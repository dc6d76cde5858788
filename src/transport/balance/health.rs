//! The health of one address. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The state of one address of a destination.
#[derive(Clone, Debug)]
pub(crate) struct AddressHealth {
    /// Distinguishes it from an earlier entry of the same address.
    pub(super) entry: u64,
    /// The number of requests in flight.
    pub(super) in_flight: u32,
    pub(super) used: Option<Instant>,
    /// The latency of responses and the share of failed attempts: moving averages.
    latency: Average,
    failures: Average,
    /// Connects to it failed; until this instant it is tried last.
    refuses_until: Option<Instant>,
    refused_in_a_row: u32,
    /// Set if it is much worse than its siblings. Then it gets only trial requests, until it is as good as they are.
    pub(super) aside: Option<Aside>,
    /// Until when it is kept after it has left DNS, because the addresses of this name come back.
    pub(super) absent_until: Option<Instant>,
    /// When a call of one of its sessions last went elsewhere.
    pub(super) missed: Option<Instant>,
}

/// An address that was set aside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aside {
    pub(super) next_trial: Instant,
    /// Requests of the whole destination since the last trial.
    pub(super) others: u32,
    good_trials: u32,
    /// Whether it fails more than its siblings, and is not only slower.
    fails: bool,
}

/// How an attempt ended, for the health of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressOutcome {
    /// A response came. Holds the time until its head.
    Answered(Duration),
    /// The attempt failed at tls, send, gateway, server or receive.
    Failed,
    /// The connect failed.
    Unreachable,
    /// Not known: the caller went away.
    Unknown,
}

impl AddressHealth {
    pub(super) fn new(entry: u64) -> Self {
        Self {
            entry,
            in_flight: 0,
            used: None,
            latency: Average::new(),
            failures: Average::new(),
            refuses_until: None,
            refused_in_a_row: 0,
            aside: None,
            absent_until: None,
            missed: None,
        }
    }

    pub(super) fn record(&mut self, outcome: AddressOutcome, now: Instant) {
        match outcome {
            AddressOutcome::Answered(latency) => {
                self.refuses_until = None;
                self.refused_in_a_row = 0;
                self.latency.add(latency.as_secs_f64());
                self.failures.add(0.0);
            }
            AddressOutcome::Failed => {
                self.refuses_until = None;
                self.refused_in_a_row = 0;
                self.failures.add(1.0);
            }
            // Calls that dialed it together fail together: that is one failure.
            AddressOutcome::Unreachable if self.refuses_until(now).is_some() => {}
            AddressOutcome::Unreachable => {
                let doubled = FIRST_WAIT.saturating_mul(1 << self.refused_in_a_row.min(8));
                self.refuses_until = Some(now + doubled.min(LONGEST_WAIT));
                self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
            }
            AddressOutcome::Unknown => {}
        }
    }

    /// Returns until when it is tried last, if a connect to it failed.
    pub(super) fn refuses_until(&self, now: Instant) -> Option<Instant> {
        self.refuses_until.filter(|until| now < *until)
    }

    /// Returns whether it may be much worse than its siblings: some attempts fail, or its latency is high.
    pub(super) fn may_be_worse(&self) -> bool {
        let is_slow = self.latency.is_known() && self.latency.value > SLOWER_BY.as_secs_f64();
        self.failures.is_known() && (self.failures.value > FAILS_MORE || is_slow)
    }

    /// Compares it with its siblings. `None` while there are too few samples.
    pub(super) fn compare(&self, siblings: &Siblings) -> Option<Standing> {
        if !self.failures.is_known() {
            return None;
        }
        let fails = self.failures.value > siblings.failures * FAILS_TIMES + FAILS_MORE;
        let slow = self.latency.is_known()
            && siblings.latency.is_some_and(|others| {
                self.latency.value > others * SLOWER_TIMES
                    && self.latency.value > others + SLOWER_BY.as_secs_f64()
            });
        Some(if fails || slow {
            Standing::Worse { fails }
        } else {
            Standing::AsGood
        })
    }

    /// Sets it aside. Its earlier samples are removed, so that only its trials count.
    pub(super) fn set_aside(&mut self, fails: bool, now: Instant) {
        self.aside = Some(Aside {
            next_trial: now + TRIAL_EVERY,
            others: 0,
            good_trials: 0,
            fails,
        });
        self.latency = Average::new();
        self.failures = Average::new();
    }

    /// Returns whether it is set aside because it fails.
    pub(super) fn is_failing(&self) -> bool {
        self.aside.is_some_and(|aside| aside.fails)
    }

    /// Returns whether a trial of it is due. If so, counts the trial as made.
    pub(super) fn try_again(&mut self, now: Instant) -> bool {
        let Some(aside) = &mut self.aside else {
            return false;
        };
        aside.others = aside.others.saturating_add(1);
        let due = now >= aside.next_trial && aside.others >= TRIAL_SHARE;
        if due {
            aside.next_trial = now + TRIAL_EVERY;
            aside.others = 0;
        }
        due
    }

    /// Records the end of a trial. Enough good trials in a row end the time aside.
    pub(super) fn tried(&mut self, outcome: AddressOutcome, siblings: &Siblings) {
        let Some(aside) = &mut self.aside else {
            return;
        };
        match outcome {
            AddressOutcome::Answered(latency) if siblings.is_as_good(latency) => {
                aside.good_trials += 1;
                if aside.good_trials >= GOOD_TRIALS {
                    self.aside = None;
                    self.latency = Average::new();
                    self.failures = Average::new();
                }
            }
            AddressOutcome::Answered(_) | AddressOutcome::Failed | AddressOutcome::Unreachable => {
                aside.good_trials = 0
            }
            AddressOutcome::Unknown => {}
        }
    }

    pub(super) fn latency(&self) -> Option<f64> {
        self.latency.is_known().then_some(self.latency.value)
    }

    pub(super) fn failures(&self) -> Option<f64> {
        self.failures.is_known().then_some(self.failures.value)
    }
}

/// How an address compares with its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    AsGood,
    Worse { fails: bool },
}

/// The medians of the other addresses of the destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Siblings {
    pub(super) latency: Option<f64>,
    pub(super) failures: f64,
}

impl Siblings {
    fn is_as_good(&self, latency: Duration) -> bool {
        self.latency.is_none_or(|others| {
            let most = (others * SLOWER_TIMES).max(others + SLOWER_BY.as_secs_f64());
            latency.as_secs_f64() <= most
        })
    }
}

/// A moving average: the latest sample has a tenth of the weight.
#[derive(Clone, Copy, Debug)]
struct Average {
    value: f64,
    samples: u32,
}

impl Average {
    const fn new() -> Self {
        Self {
            value: 0.0,
            samples: 0,
        }
    }

    /// The first samples have equal weights, so that the first one does not dominate.
    fn add(&mut self, sample: f64) {
        self.samples = self.samples.saturating_add(1);
        let weight = NEWEST.max(1.0 / f64::from(self.samples));
        self.value += (sample - self.value) * weight;
    }

    fn is_known(&self) -> bool {
        self.samples >= SAMPLES
    }
}

const NEWEST: f64 = 0.1;
/// Fewer samples are not meaningful.
const SAMPLES: u32 = 10;
/// Differences below this factor may be noise.
const SLOWER_TIMES: f64 = 2.0;
/// On one machine all latencies are tiny, so a ratio alone is not meaningful.
const SLOWER_BY: Duration = Duration::from_millis(5);
const FAILS_TIMES: f64 = 3.0;
const FAILS_MORE: f64 = 0.15;
/// The interval between trials, and the minimum number of requests between them. Trials are at most a tenth of the
/// traffic, and far less under high traffic.
const TRIAL_EVERY: Duration = Duration::from_secs(2);
const TRIAL_SHARE: u32 = 20;
const GOOD_TRIALS: u32 = 3;
/// An address that refuses connections is tried again soon, then with growing intervals.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
