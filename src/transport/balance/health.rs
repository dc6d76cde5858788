//! How one address has fared: pure.

use std::time::Duration;

use tokio::time::Instant;

/// The state of one address of a destination.
#[derive(Clone, Debug)]
pub(crate) struct AddressHealth {
    /// Tells it from an earlier entry of the same address.
    pub(super) entry: u64,
    /// Requests that are on their way.
    pub(super) in_flight: u32,
    pub(super) used: Option<Instant>,
    /// How long answers take, and how many attempts fail: averages that forget.
    latency: Average,
    failures: Average,
    /// Nothing can be connected to it; tried last until then.
    refuses_until: Option<Instant>,
    refused_in_a_row: u32,
    /// Much worse than its siblings: only trials go there until it is as good as they are.
    pub(super) aside: Option<Aside>,
    /// When it left DNS, if the addresses of the name come back.
    pub(super) absent_since: Option<Instant>,
}

/// An address that was set aside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aside {
    pub(super) next_trial: Instant,
    /// Requests of the whole destination since the last trial.
    pub(super) others: u32,
    good_trials: u32,
}

/// How an attempt ended, as far as its address goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressOutcome {
    /// Answered, the head coming after so long.
    Answered(Duration),
    /// Failed on the way: at tls, send, gateway, server or receive.
    Failed,
    /// No connection could be made.
    Unreachable,
    /// Says nothing: the caller went away.
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
            absent_since: None,
        }
    }

    pub(super) fn record(&mut self, fared: AddressOutcome, now: Instant) {
        match fared {
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
            AddressOutcome::Unreachable => {
                let doubled = FIRST_WAIT.saturating_mul(1 << self.refused_in_a_row.min(8));
                self.refuses_until = Some(now + doubled.min(LONGEST_WAIT));
                self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
            }
            AddressOutcome::Unknown => {}
        }
    }

    /// Until when it is tried last, if at all.
    pub(super) fn refuses_until(&self, now: Instant) -> Option<Instant> {
        self.refuses_until.filter(|until| now < *until)
    }

    /// Whether there may be siblings that it is much worse than: it fails, or takes its time.
    pub(super) fn may_be_worse(&self) -> bool {
        let is_slow = self.latency.is_known() && self.latency.value > SLOWER_BY.as_secs_f64();
        self.failures.is_known() && (self.failures.value > FAILS_MORE || is_slow)
    }

    /// Whether it is much worse than its siblings; `None` while too little is known.
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
            Standing::Worse
        } else {
            Standing::AsGood
        })
    }

    /// Sets it aside; what it did before is forgotten, so that its trials speak for themselves.
    pub(super) fn set_aside(&mut self, now: Instant) {
        self.aside = Some(Aside {
            next_trial: now + TRIAL_EVERY,
            others: 0,
            good_trials: 0,
        });
        self.latency = Average::new();
        self.failures = Average::new();
    }

    /// Whether a trial of it is due; if so, it is counted as made.
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

    /// A trial ended: enough good ones in a row bring it back.
    pub(super) fn tried(&mut self, fared: AddressOutcome, siblings: &Siblings) {
        let Some(aside) = &mut self.aside else {
            return;
        };
        match fared {
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
    Worse,
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

/// An average that gives the latest tenth of the weight.
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

    /// The first samples weigh alike, so that none of them stands for all.
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
/// Fewer say nothing.
const SAMPLES: u32 = 10;
/// Half of it is noise.
const SLOWER_TIMES: f64 = 2.0;
/// On one machine everything is fast, and twice of nothing is nothing.
const SLOWER_BY: Duration = Duration::from_millis(5);
const FAILS_TIMES: f64 = 3.0;
const FAILS_MORE: f64 = 0.15;
/// A trial every so often, and never more than one in so many requests: a tenth of the traffic at
/// the most, and far less where there is much.
const TRIAL_EVERY: Duration = Duration::from_secs(2);
const TRIAL_SHARE: u32 = 20;
const GOOD_TRIALS: u32 = 3;
/// An address that refuses is tried again soon, then less and less often.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
