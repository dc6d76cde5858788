use std::time::Duration;

use crate::config_error::{ConfigError, expected};

/// The number of retries that all calls to a destination together can afford.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::policy::retry::Budget;
///
/// let tight = Budget::new()
///     .ratio(0.1) // one retry for ten calls
///     .min_retries_per_second(1) // so that a quiet client may retry at all
///     .window(Duration::from_secs(30));
/// assert_ne!(tight, Budget::default());
/// ```
///
/// # Protects from
///
/// Three attempts a call triple the load, just when the server is overloaded. With a budget, 1,000 calls a second to
/// a dead service cause about 1,210 requests a second, not 3,000.
///
/// # Kinds
///
/// - The default refills with time and with calls: see below.
/// - [`reserve`](Self::reserve) is a number of tokens that only successes refill, as in the AWS SDKs.
/// - [`throttle`](Self::throttle) is gRPC's: failures count down, successes count up, and below half of the tokens
///   nothing is retried.
/// - [`unlimited`](Self::unlimited) leaves the number of attempts as the only bound.
///
/// # Defaults
///
/// | field | default | why |
/// |---|---|---|
/// | `ratio` | 0.2 | as in Finagle: retries can replace a fifth of the responses |
/// | `min_retries_per_second` | 10 | a client with few calls pays in too little |
/// | `window` | 10 s | a burst may spend the savings of this time only |
///
/// # Trade-offs
///
/// The budget is first come, first served. Once it is spent, later calls get a single attempt.
///
/// # How people get it wrong
///
/// They give each call, or each client of one destination, a separate budget. Each then spends its own reserve, and
/// together they multiply the load. See [`Budgets`](super::Budgets).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::serialize::BudgetForm"))]
#[cfg_attr(feature = "serde", serde(into = "super::serialize::BudgetForm"))]
pub struct Budget(pub(super) BudgetKind);

/// The kind of a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum BudgetKind {
    Unlimited,
    Rate(Terms),
    Reserve(Reserve),
    Throttle(Throttle),
}

/// A number of tokens that only successes refill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct Reserve {
    pub(super) tokens: u32,
    /// The price of a retry, and of a retry after a timeout.
    #[cfg_attr(feature = "serde", serde(default = "Reserve::cost"))]
    pub(super) cost: u32,
    #[cfg_attr(feature = "serde", serde(default = "Reserve::timeout_cost"))]
    pub(super) timeout_cost: u32,
}

impl Reserve {
    const fn cost() -> u32 {
        5
    }

    const fn timeout_cost() -> u32 {
        10
    }
}

/// A count that each failed attempt lowers by one, and each success raises by the ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct Throttle {
    pub(super) tokens: u32,
    pub(super) ratio: f64,
}

/// The terms of a budget that is not unlimited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) ratio: f64,
    pub(super) min_retries_per_second: u32,
    pub(super) window: Duration,
}

impl Budget {
    /// Creates the default budget: one retry for five calls, plus ten a second, saved up over ten seconds.
    #[must_use]
    pub const fn new() -> Self {
        Self(BudgetKind::Rate(Terms::DEFAULT))
    }

    /// Creates a budget that allows every retry. Only the number of attempts bounds retries.
    ///
    /// A setter that is called afterwards bounds it again. The other fields then have their defaults.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self(BudgetKind::Unlimited)
    }

    /// Creates a budget of 1 to 1,000,000 tokens. A retry costs 5 tokens, and a retry after a timeout 10. A call that
    /// succeeds at once pays back 1. A call that succeeds by a retry pays back the price of that retry. Time refills
    /// nothing.
    ///
    /// The AWS SDKs use 500 tokens.
    #[must_use]
    pub const fn reserve(tokens: u32) -> Self {
        Self::reserve_with_costs(tokens, Reserve::cost(), Reserve::timeout_cost())
    }

    /// Creates a [`reserve`](Self::reserve) with other costs, each from 1 to `tokens`. A retry costs `cost`, and a
    /// retry after a timeout costs `timeout_cost`.
    #[must_use]
    pub const fn reserve_with_costs(tokens: u32, cost: u32, timeout_cost: u32) -> Self {
        Self(BudgetKind::Reserve(Reserve {
            tokens,
            cost,
            timeout_cost,
        }))
    }

    /// Creates a budget of 1 to 1,000 tokens that allows retries while more than half of them are left. A failed
    /// attempt takes one token. A successful call adds `ratio` tokens (more than 0, at most 1,000). Time refills
    /// nothing.
    ///
    /// This is gRPC's `retryThrottling`, often with 10 tokens and a ratio of 0.1.
    #[must_use]
    pub const fn throttle(tokens: u32, ratio: f64) -> Self {
        Self(BudgetKind::Throttle(Throttle { tokens, ratio }))
    }

    /// Sets how many retries a call pays for, to six decimal places.
    #[must_use]
    pub const fn ratio(self, ratio: f64) -> Self {
        Self(BudgetKind::Rate(Terms {
            ratio,
            ..self.or_default()
        }))
    }

    /// Sets how many retries a second are always affordable, however few calls there are.
    #[must_use]
    pub const fn min_retries_per_second(self, retries: u32) -> Self {
        Self(BudgetKind::Rate(Terms {
            min_retries_per_second: retries,
            ..self.or_default()
        }))
    }

    /// Sets how long a deposit can be spent, and how long a withdrawal counts.
    #[must_use]
    pub const fn window(self, window: Duration) -> Self {
        Self(BudgetKind::Rate(Terms {
            window,
            ..self.or_default()
        }))
    }

    const fn or_default(self) -> Terms {
        match self.0 {
            BudgetKind::Rate(terms) => terms,
            BudgetKind::Unlimited | BudgetKind::Reserve(_) | BudgetKind::Throttle(_) => {
                Terms::DEFAULT
            }
        }
    }

    /// Returns whether the budget allows every retry.
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        matches!(self.0, BudgetKind::Unlimited)
    }

    /// Returns the ratio, the retries that are always affordable a second, and the time. `None` for budgets that time
    /// does not refill.
    #[must_use]
    pub const fn get_rate(&self) -> Option<(f64, u32, Duration)> {
        match self.0 {
            BudgetKind::Rate(terms) => {
                Some((terms.ratio, terms.min_retries_per_second, terms.window))
            }
            BudgetKind::Unlimited | BudgetKind::Reserve(_) | BudgetKind::Throttle(_) => None,
        }
    }

    /// Returns the tokens of a [`reserve`](Self::reserve), the cost of a retry, and that of a retry after a timeout.
    /// `None` for other kinds.
    #[must_use]
    pub const fn get_reserve(&self) -> Option<(u32, u32, u32)> {
        match self.0 {
            BudgetKind::Reserve(terms) => Some((terms.tokens, terms.cost, terms.timeout_cost)),
            BudgetKind::Unlimited | BudgetKind::Rate(_) | BudgetKind::Throttle(_) => None,
        }
    }

    /// Returns the tokens and the ratio of a [`throttle`](Self::throttle), `None` for other kinds.
    #[must_use]
    pub const fn get_throttle(&self) -> Option<(u32, f64)> {
        match self.0 {
            BudgetKind::Throttle(throttle) => Some((throttle.tokens, throttle.ratio)),
            BudgetKind::Unlimited | BudgetKind::Rate(_) | BudgetKind::Reserve(_) => None,
        }
    }

    /// Refuses values that are out of range.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let terms = match self.0 {
            BudgetKind::Rate(terms) => terms,
            BudgetKind::Unlimited => return Ok(()),
            BudgetKind::Reserve(reserve) => return reserve.validate(),
            BudgetKind::Throttle(throttle) => return throttle.validate(),
        };
        if !(0.0..=1_000.0).contains(&terms.ratio) {
            let path = "retry.budget.ratio";
            return Err(ConfigError::invalid(path, terms.ratio, "0 to 1000"));
        }
        if !(OVER.0..=OVER.1).contains(&terms.window) {
            let path = "retry.budget.window";
            return Err(ConfigError::invalid(path, terms.window, "1s..=60s"));
        }
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

impl Reserve {
    fn validate(self) -> Result<(), ConfigError> {
        expected::count(TOKENS_PATH, self.tokens, 1..=MOST_RESERVE)?;
        for (path, cost) in [
            ("retry.budget.reserve.cost", self.cost),
            ("retry.budget.reserve.timeout_cost", self.timeout_cost),
        ] {
            expected::count(path, cost, 1..=u32::MAX)?;
            if cost > self.tokens {
                return Err(ConfigError::less((TOKENS_PATH, self.tokens), (path, cost)));
            }
        }
        Ok(())
    }
}

impl Throttle {
    fn validate(self) -> Result<(), ConfigError> {
        expected::count("retry.budget.throttle.tokens", self.tokens, 1..=1_000)?;
        if !(self.ratio > 0.0 && self.ratio <= 1_000.0) {
            let (path, range) = ("retry.budget.throttle.ratio", "more than 0, at most 1000");
            return Err(ConfigError::invalid(path, self.ratio, range));
        }
        Ok(())
    }
}

impl Terms {
    pub(super) const DEFAULT: Self = Self {
        ratio: 0.2,
        min_retries_per_second: 10,
        window: Duration::from_secs(10),
    };

    pub(super) const fn window(&self) -> Duration {
        self.window
    }

    /// Returns the deposit of one call, in units of [`TOKEN`].
    pub(super) fn deposit(&self) -> i64 {
        // Rounded, not cut: in floats 0.000249 of a million is a little less than 249.
        (self.ratio * TOKEN as f64).round() as i64
    }

    /// Returns the balance before any call has paid in, in units of [`TOKEN`].
    pub(super) fn reserve(&self) -> i64 {
        let micros = i64::try_from(self.window.as_micros()).unwrap_or(i64::MAX);
        // A token is a million units and a second a million microseconds: they cancel out.
        micros.saturating_mul(i64::from(self.min_retries_per_second))
    }
}

/// The price of a retry. Its unit is so small that every usual ratio is a whole number of units.
pub(super) const TOKEN: i64 = 1_000_000;
const TOKENS_PATH: &str = "retry.budget.reserve.tokens";
/// More than any SDK has.
const MOST_RESERVE: u32 = 1_000_000;
/// A slot is a tenth of this time. In a shorter time, a slot would be about a round trip. In a longer time, a burst
/// could spend the savings of the server's good minutes.
const OVER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
