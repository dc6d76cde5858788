//! The policies of a stack that bound the load of a destination. The config switches them on and has their values.

use std::sync::Arc;

use super::policies::Policies;
use crate::policy::concurrency::{self, ConcurrencyConfig, ConcurrencyHandle};
use crate::policy::rate_limit::{self, RateLimit, RateLimitConfig, SharedRateLimit};
use crate::policy::throttle::{self, ThrottleConfig, ThrottleHandle};
use crate::policy::{DestinationKey, NamedRules};
use crate::retry_after::Hints;

/// The state of all destinations for the throttle, the concurrency limit and the rate limit of a stack.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) throttle: ThrottleHandle,
    pub(crate) concurrency: ConcurrencyHandle,
    rate_limit: RateLimit,
    /// The store, if processes share the rate.
    pub(crate) shared: Option<SharedRateLimit>,
}

impl Load {
    pub(crate) fn new() -> Self {
        Self {
            throttle: ThrottleHandle::new(),
            concurrency: ConcurrencyHandle::new(),
            rate_limit: RateLimit::new(),
            shared: None,
        }
    }

    /// Returns the policies that these configs switch on, with the user's functions.
    pub(crate) fn policies(
        &self,
        (own, rules): (LoadConfigs<'_>, &LoadRules),
        key: Option<&DestinationKey>,
        hints: &Hints,
    ) -> Policies {
        let shared = self.shared.as_ref();
        Policies {
            throttle: own.throttle.map(|config| throttle::Policy {
                throttle: self.throttle.clone(),
                config: Arc::new(config.clone()),
                key: key.cloned(),
                rules: rules.throttle.clone(),
                hints: hints.clone(),
            }),
            concurrency: own.concurrency.map(|config| concurrency::Policy {
                limits: self.concurrency.clone(),
                config: Arc::new(config.clone()),
                key: key.cloned(),
                rules: rules.concurrency.clone(),
            }),
            rate_limit: own.rate_limit.map(|config| rate_limit::Policy {
                limit: shared.map_or_else(|| self.rate_limit.clone(), SharedRateLimit::local),
                config: Arc::new(config.clone()),
                key: key.cloned(),
                rules: rules.rate_limit.clone(),
                shared: shared.cloned(),
            }),
            ..Policies::default()
        }
    }
}

/// The configs of the policies that bound the load of destinations, for one call. A policy that is off has none.
#[derive(Clone, Copy)]
pub(crate) struct LoadConfigs<'c> {
    pub(crate) throttle: Option<&'c ThrottleConfig>,
    pub(crate) concurrency: Option<&'c ConcurrencyConfig>,
    pub(crate) rate_limit: Option<&'c RateLimitConfig>,
}

impl<'c> LoadConfigs<'c> {
    /// Takes these configs, as far as they are on.
    pub(crate) fn new(
        throttle: Option<&'c ThrottleConfig>,
        concurrency: Option<&'c ConcurrencyConfig>,
        rate_limit: Option<&'c RateLimitConfig>,
    ) -> Self {
        Self {
            throttle: throttle.filter(|own| own.get_enabled()),
            concurrency: concurrency.filter(|own| own.get_enabled()),
            rate_limit: rate_limit.filter(|own| own.get_enabled()),
        }
    }
}

/// The rules of these policies for the destinations that the user's function names.
#[derive(Default)]
pub(crate) struct LoadRules {
    pub(crate) throttle: NamedRules<ThrottleConfig>,
    pub(crate) concurrency: NamedRules<ConcurrencyConfig>,
    pub(crate) rate_limit: NamedRules<RateLimitConfig>,
}
