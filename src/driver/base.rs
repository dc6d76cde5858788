//! The part of a stack that no config has: the user's functions, and the state of all destinations.

use std::fmt;
use std::sync::Arc;

use super::load::Load;
use crate::call::Observer;
use crate::policy::breaker::CircuitBreakerHandle;
use crate::policy::hedge::HedgeStates;
use crate::policy::retry::Budgets;
use crate::policy::{Classifier, DestinationKey, fallback};
use crate::retry_after::Hints;
use crate::telemetry::{Maker, Propagator};

/// The user's functions, and the state of all destinations. Clones share the state.
#[derive(Clone)]
pub(crate) struct Base {
    pub(crate) observer: Option<Observer>,
    pub(crate) maker: Maker,
    pub(crate) fallback: Option<fallback::Policy>,
    pub(crate) classifier: Option<Classifier>,
    pub(crate) hints: Hints,
    pub(crate) key: Option<DestinationKey>,
    pub(crate) propagator: Option<Arc<dyn Propagator>>,
    pub(crate) budgets: Budgets,
    pub(crate) hedges: HedgeStates,
    pub(crate) breaker: CircuitBreakerHandle,
    pub(crate) load: Load,
    /// Whether the inner service is the wire: see [`Policies`](super::Policies).
    pub(crate) is_at_wire: bool,
    /// Whether the driver continues a call that it finds.
    pub(crate) joins: bool,
}

impl Base {
    /// Creates a base without functions.
    pub(crate) fn new(breaker: CircuitBreakerHandle, budgets: Budgets) -> Self {
        Self {
            observer: None,
            maker: Maker::Tracing,
            fallback: None,
            classifier: None,
            hints: Hints::default(),
            key: None,
            propagator: None,
            budgets,
            hedges: HedgeStates::new(),
            breaker,
            load: Load::new(),
            is_at_wire: false,
            joins: false,
        }
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").finish_non_exhaustive()
    }
}
