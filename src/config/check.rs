//! Refuses values that are out of range or contradict each other.

use std::time::Duration;

use super::Config;
use crate::config_error::ConfigError;
use crate::policy::throttle::ThrottleConfig;
use crate::timeout::Timeouts;

/// The calls that the values are for. They decide which values have to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calls {
    /// To hosts that have limits of their own.
    Host,
    /// Of a route. Its limits are those of its host: a call with a shorter deadline does not wait as long.
    Route,
    /// To a logical name. Its hedges and limits are those of its endpoints.
    Name,
}

impl Config {
    /// Refuses values that are out of range or contradict each other. Parts for destinations are not checked here.
    pub(super) fn check(&self, calls: Calls) -> Result<Timeouts, ConfigError> {
        let timeouts = Timeouts::from_config(self.deadline, self.timeouts)?;
        self.idempotency.check()?;
        self.redirect.check()?;
        self.retry.check(Some(self.deadline))?;
        if let Some(hedge) = &self.hedge {
            hedge.check()?;
            if calls != Calls::Name {
                hedge.check_within(self.deadline, self.retry.get_attempts())?;
            }
        }
        self.circuit_breaker.check(&timeouts)?;
        self.check_load(Some(self.deadline).filter(|_| calls == Calls::Host))?;
        self.stale.check()?;
        Ok(timeouts)
    }

    fn check_load(&self, deadline: Option<Duration>) -> Result<(), ConfigError> {
        let throttle = self.throttle.as_ref().map(ThrottleConfig::check);
        throttle.transpose()?;
        let concurrency = self.concurrency.as_ref();
        concurrency
            .map(|config| config.check(deadline))
            .transpose()?;
        let rate_limit = self.rate_limit.as_ref();
        rate_limit
            .map(|config| config.check(deadline))
            .transpose()?;
        Ok(())
    }
}
