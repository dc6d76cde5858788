//! Calls inside one another: what they have in common, and what the failure of one proves for the other.

use super::{Asked, Call, MOST_CALLS};
use crate::hop::Effect;
use crate::options::Relation;

impl Call {
    /// How a call below, or inside this one, is related to it.
    pub(super) fn relation_to(&self, asked: &Asked) -> Relation {
        let own = self.asked();
        if own.method().is_none() || asked.method().is_none() {
            Relation::Operation
        } else if self.is_led_away() {
            Relation::LedAway
        } else if (own.method(), own.uri()) == (asked.method(), asked.uri()) {
            Relation::Same
        } else {
            Relation::Rewritten
        }
    }

    /// A stack below goes on with this call's request.
    pub(super) fn goes_on_in(&self, inner: &Self) {
        let mut rest = self.rest();
        if rest.inner.len() < MOST_CALLS {
            rest.inner.push(inner.clone());
        }
    }

    /// What this one may have done, where `failed`, a call below, is what failed. If this one's request went on
    /// in it, that is what all who had it may have done. Otherwise nobody knows: whoever made that call may have
    /// made others before.
    pub(crate) fn effect_below(&self, failed: &Self) -> Effect {
        // Before it went on there, it may have gone out right here.
        let is_taken = self.last().is_some_and(|own| own.is_taken());
        if is_taken || !self.leads_to(failed) {
            return Effect::Possible;
        }
        let inner = self.rest().inner.clone();
        let effects = inner.iter().map(Self::effect_from_outside);
        effects.max().unwrap_or(Effect::Possible)
    }

    /// Whether another one's request is this one's, at any depth.
    pub(super) fn leads_to(&self, other: &Self) -> bool {
        let inner = self.rest().inner.clone();
        let is_all = inner.len() < MOST_CALLS;
        let leads = |call: &Self| call.is(other) || call.leads_to(other);
        is_all && inner.iter().any(leads)
    }

    /// What a call may have done. Where nobody followed its attempts, only its failure can say that it was
    /// nothing.
    pub(super) fn effect_from_outside(&self) -> Effect {
        match (self.last(), self.failure()) {
            (Some(_), _) => self.effect(),
            (None, Some(failure)) => failure.effect,
            (None, None) => Effect::Possible,
        }
    }
}
