//! The part of a destination's calls that may be hedged: a pure counter.

/// A share that each call raises, and each hedge lowers. It begins empty, so hedges never exceed their part of the
/// calls.
#[derive(Debug, Default)]
pub(super) struct HedgeShare(u32);

impl HedgeShare {
    /// Adds the part of one call.
    pub(super) fn deposit(&mut self) {
        self.0 = (self.0 + 1).min(MOST * PRICE);
    }

    /// Takes one hedge. Returns false if there were too few calls.
    pub(super) fn withdraw(&mut self) -> bool {
        let left = self.0.checked_sub(PRICE);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }

    /// Returns a hedge that was not sent.
    pub(super) fn give_back(&mut self) {
        self.0 = (self.0 + PRICE).min(MOST * PRICE);
    }
}

/// One hedge for twenty calls: 5 %.
pub(super) const PRICE: u32 = 20;
/// How many hedges a burst of slow calls may use at once.
const MOST: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_calls_pay_for_one_hedge_and_savings_have_a_bound() {
        let mut share = HedgeShare::default();
        for calls in 1..=10 * PRICE {
            share.deposit();
            assert_eq!(share.withdraw(), calls % PRICE == 0, "{calls}");
        }
        for _ in 0..1_000 * PRICE {
            share.deposit();
        }
        share.give_back();
        assert_eq!((0..20).filter(|_| share.withdraw()).count(), MOST as usize);
        share.give_back();
        assert!(share.withdraw());
        assert!(!share.withdraw());
    }
}
