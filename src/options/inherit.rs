//! Passes the options of a call on to the calls below it. Pure.

use std::sync::Arc;

use http::StatusCode;

use super::{Inherited, Options};
use crate::consistency::Consistency;

/// The relation of a call to the call around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The same request in a stack below: the same method, the same URI.
    Same,
    /// The same request in a stack below, after a foreign layer changed its method or URI.
    Rewritten,
    /// A leg of the same call: a redirect led to another method or origin.
    LedAway,
    /// A call that is made inside an operation.
    Operation,
}

impl Options {
    /// Merges the options of the call around this one. The table in the documentation of [`Options`]
    /// says how.
    pub(crate) fn inherit_from(&mut self, outer: &Self, relation: Relation) {
        // There is no `..`: a new option does not compile until it is merged, or named as one that is not.
        let Self {
            deadline: _, // passed on as an instant, in `inherited`: a duration would start again
            streaming,
            whole_body,
            route,
            priority,
            idempotent,
            no_retry,
            attempts,
            statuses,
            no_redirects,
            key,
            no_key,
            honors_idempotency_keys,
            consistency,
            affinity,
            inherited,
            invalid,
            #[cfg(feature = "har")]
                headers: _,
        } = outer;
        self.invalid = self.invalid.or(*invalid);
        self.no_retry |= no_retry;
        self.no_redirects |= no_redirects;
        self.no_key |= no_key;
        self.inherited.restrain(inherited);
        self.inherited.attempts = stricter(self.inherited.attempts, *attempts);
        // The bound applies only if this call demands its whole body, or inherits that demand.
        let is_below = relation != Relation::Operation;
        let asked = is_below || self.whole_body.is_some();
        self.whole_body = stricter(self.whole_body, whole_body.filter(|_| asked));
        if *honors_idempotency_keys == Some(false) {
            self.honors_idempotency_keys = Some(false);
        }
        let refuses = *consistency == Some(Consistency::Refuse);
        if refuses || relation == Relation::Same {
            let both = self.consistency.zip(*consistency);
            let stricter = both.map(|(own, outer)| own.stricter(outer));
            self.consistency = stricter.or(self.consistency).or(*consistency);
        }
        if relation == Relation::Same {
            self.streaming |= streaming;
            self.idempotent |= idempotent;
            self.honors_idempotency_keys =
                self.honors_idempotency_keys.or(*honors_idempotency_keys);
            self.route = self.route.take().or_else(|| route.clone());
            self.priority = self.priority.or(*priority);
        }
        if is_below {
            self.affinity = self.affinity.or(*affinity);
            self.inherited.only(inherited.statuses.as_ref());
            self.inherited.only(statuses.as_ref());
        }
        if matches!(relation, Relation::Same | Relation::Rewritten) {
            let given = self.key.take();
            let differ = key.is_some() && given.is_some() && given != *key;
            self.inherited.keys_differ |= inherited.keys_differ || differ;
            self.key = key.clone().or(given);
        }
    }

    /// Merges the restraints of the request that is handled here.
    pub(crate) fn restrain_by(&mut self, arrived: &Self) {
        self.inherited.restrain(&arrived.inherited);
    }

    /// Returns the maximum number of attempts. A request's own value replaces the config of its stack. A value of a
    /// call around it can only reduce the number.
    pub(crate) fn most_attempts(&self, configured: u32) -> u32 {
        let own = self.attempts.unwrap_or(configured);
        let outer = self.inherited.attempts;
        outer.map_or(own, |outer| own.min(outer))
    }

    /// Returns whether a retry is allowed after this status.
    pub(crate) fn lists(&self, configured: &[StatusCode], status: StatusCode) -> bool {
        let own = self.statuses.as_deref().unwrap_or(configured);
        let outer = self.inherited.statuses.as_deref();
        own.contains(&status) && outer.is_none_or(|outer| outer.contains(&status))
    }
}

impl Inherited {
    /// Inherits the restraints that hold in every call inside another one.
    pub(super) fn restrain(&mut self, outer: &Self) {
        let Self {
            deadline,
            most,
            attempts,
            statuses: _,    // not in an operation
            keys_differ: _, // not in an operation
        } = outer;
        self.deadline = stricter(self.deadline, *deadline);
        self.most = self.most.max(*most);
        self.attempts = stricter(self.attempts, *attempts);
    }

    /// Restricts the statuses to these.
    fn only(&mut self, statuses: Option<&Arc<[StatusCode]>>) {
        let Some(statuses) = statuses else { return };
        self.statuses = Some(match &self.statuses {
            None => Arc::clone(statuses),
            Some(own) => {
                let both = own.iter().filter(|status| statuses.contains(status));
                both.copied().collect()
            }
        });
    }
}

/// Returns the smaller of the values that are present.
fn stricter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
