//! The policies between the callers and the service.

use std::time::Duration;

use sevenhops::policy::retry::Budget;
use sevenhops::{
    CircuitBreakerConfig, ConcurrencyConfig, Config, HedgeConfig, RetryConfig, StandardLayer,
    ThrottleConfig,
};

use crate::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    Nothing,
    Retry,
    Budget,
    Breaker,
    Limiter,
    Hedge,
    Throttle,
    Full,
}

impl Stack {
    pub(crate) const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Retry,
        Self::Budget,
        Self::Breaker,
        Self::Limiter,
        Self::Hedge,
        Self::Throttle,
        Self::Full,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no middleware",
            Self::Retry => "timeout + retry",
            Self::Budget => "+ budget",
            Self::Breaker => "+ breaker",
            Self::Limiter => "+ limiter",
            Self::Hedge => "+ hedge",
            Self::Throttle => "+ throttle",
            Self::Full => "full",
        }
    }

    /// Returns the layer with these policies; `None` without any.
    pub(crate) fn layer(self) -> Result<Option<StandardLayer>> {
        let budget = match self {
            Self::Nothing => return Ok(None),
            Self::Retry => Budget::unlimited(),
            _ => Budget::new(),
        };
        let breaker = match self {
            Self::Breaker | Self::Full => CircuitBreakerConfig::new(),
            _ => CircuitBreakerConfig::new().min_attempts(u32::MAX),
        };
        let config = Config::new(DEADLINE)
            .retry(RetryConfig::new().budget(budget))
            .circuit_breaker(breaker);
        let limiter = ConcurrencyConfig::new();
        let config = match self {
            Self::Limiter => config.concurrency(limiter),
            Self::Hedge => config.hedge(HedgeConfig::new()),
            Self::Throttle => config.throttle(ThrottleConfig::new()),
            Self::Full => config.concurrency(limiter).hedge(HedgeConfig::new()),
            _ => config,
        };
        Ok(Some(StandardLayer::from_config(&config)?))
    }
}

pub(crate) const DEADLINE: Duration = Duration::from_secs(1);
