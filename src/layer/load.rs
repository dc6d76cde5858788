//! The policies of a stack that bound the load of a destination. The config switches them on and has their values.

use crate::driver::Policies;
use crate::policy::concurrency::{self, ConcurrencyConfig, ConcurrencyHandle};
use crate::policy::rate_limit::{self, RateLimit, RateLimitConfig, SharedRateLimit};
use crate::policy::throttle::{self, ThrottleConfig, ThrottleHandle};
use crate::policy::{DestinationKey, NamedRules};
use crate::retry_after::Hints;

/// The throttle, the concurrency limit and the rate limit of a stack: their state for each destination.
#[derive(Clone)]
pub(crate) struct Load {
    throttle: throttle::Policy,
    concurrency: concurrency::Policy,
    rate_limit: rate_limit::Policy,
}

impl Load {
    pub(crate) fn new() -> Self {
        Self {
            throttle: throttle::Policy {
                throttle: ThrottleHandle::new(),
                config: ThrottleConfig::new().into(),
                key: None,
                rules: NamedRules::default(),
                hints: Hints::default(),
            },
            concurrency: concurrency::Policy {
                limits: ConcurrencyHandle::new(),
                config: ConcurrencyConfig::new().into(),
                key: None,
                rules: NamedRules::default(),
            },
            rate_limit: rate_limit::Policy {
                limit: RateLimit::new(),
                config: RateLimitConfig::default().into(),
                key: None,
                rules: NamedRules::default(),
                shared: None,
            },
        }
    }

    pub(super) fn keyed(&mut self, key: &DestinationKey) {
        self.throttle.key = Some(key.clone());
        self.concurrency.key = Some(key.clone());
        self.rate_limit.key = Some(key.clone());
    }

    pub(super) fn hints(&mut self, hints: Hints) {
        self.throttle.hints = hints;
    }

    pub(super) fn share_rate_limit(&mut self, limit: &SharedRateLimit) {
        self.rate_limit.share(limit);
    }

    pub(super) fn throttle(&self) -> ThrottleHandle {
        self.throttle.throttle.clone()
    }

    pub(super) fn concurrency(&self) -> ConcurrencyHandle {
        self.concurrency.limits.clone()
    }

    /// Adds the policies to those of a stack.
    pub(crate) fn add_to(&self, policies: Policies) -> Policies {
        Policies {
            throttle: Some(self.throttle.clone()),
            concurrency: Some(self.concurrency.clone()),
            rate_limit: Some(self.rate_limit.clone()),
            ..policies
        }
    }
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load").finish_non_exhaustive()
    }
}
