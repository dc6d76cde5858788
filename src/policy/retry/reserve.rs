//! Budgets that time does not refill: pure counters.

use super::budget::{Reserve, Throttle};

/// The tokens of a reserve, as in the AWS SDKs.
#[derive(Debug)]
pub(crate) struct Tokens {
    terms: Reserve,
    left: u32,
}

impl Tokens {
    pub(super) const fn new(terms: Reserve) -> Self {
        Self {
            left: terms.tokens,
            terms,
        }
    }

    /// Applies new terms. Spent tokens stay spent.
    pub(super) fn follow(&mut self, terms: Reserve) {
        let spent = self.terms.tokens.saturating_sub(self.left);
        self.left = terms.tokens.saturating_sub(spent);
        self.terms = terms;
    }

    /// Takes the price of a retry and returns it; `None` if there are too few tokens.
    pub(super) fn withdraw(&mut self, after_timeout: bool) -> Option<u32> {
        let price = match after_timeout {
            true => self.terms.timeout_cost,
            false => self.terms.cost,
        };
        self.left = self.left.checked_sub(price)?;
        Some(price)
    }

    /// Gives tokens back: the price of a retry, or one token for a call without a retry.
    pub(super) fn give_back(&mut self, tokens: u32) {
        self.left = self.left.saturating_add(tokens).min(self.terms.tokens);
    }

    /// Returns how many retries are affordable.
    pub(super) fn balance(&self) -> i64 {
        i64::from(self.left / self.terms.cost.max(1))
    }
}

/// gRPC's retry throttling, counted in thousandths of a token.
#[derive(Debug)]
pub(crate) struct Throttling {
    most: u64,
    ratio: u64,
    left: u64,
}

impl Throttling {
    pub(super) fn new(terms: Throttle) -> Self {
        let most = u64::from(terms.tokens) * THOUSANDTHS;
        Self {
            most,
            ratio: (terms.ratio * THOUSANDTHS as f64).round() as u64,
            left: most,
        }
    }

    /// Applies new terms. Lost tokens stay lost.
    pub(super) fn follow(&mut self, terms: Throttle) {
        let lost = self.most.saturating_sub(self.left);
        let fresh = Self::new(terms);
        self.left = fresh.most.saturating_sub(lost);
        (self.most, self.ratio) = (fresh.most, fresh.ratio);
    }

    /// Records a failed attempt.
    pub(super) fn fail(&mut self) {
        self.left = self.left.saturating_sub(THOUSANDTHS);
    }

    /// Records a successful call.
    pub(super) fn succeed(&mut self) {
        self.left = self.left.saturating_add(self.ratio).min(self.most);
    }

    /// Returns whether a retry is allowed now.
    pub(super) const fn allows(&self) -> bool {
        self.left > self.most / 2
    }

    /// Returns how many more failures leave retries allowed.
    pub(super) fn balance(&self) -> i64 {
        let above = self.left.saturating_sub(self.most / 2);
        i64::try_from(above.div_ceil(THOUSANDTHS)).unwrap_or(i64::MAX)
    }
}

/// gRPC counts to three decimal places.
const THOUSANDTHS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::super::Budget;
    use super::super::budget::BudgetKind;
    use super::*;

    fn tokens(of: u32) -> Tokens {
        match Budget::reserve(of).0 {
            BudgetKind::Reserve(reserve) => Tokens::new(reserve),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn five_hundred_tokens_are_a_hundred_retries_or_fifty_after_timeouts() {
        for (after_timeout, retries) in [(false, 100), (true, 50)] {
            let mut tokens = tokens(500);
            let granted = (0..1_000).filter(|_| tokens.withdraw(after_timeout).is_some());
            assert_eq!(granted.count(), retries);
            assert_eq!(tokens.balance(), 0);
        }
    }

    #[test]
    fn successes_refill_a_reserve_up_to_its_size_and_nothing_else_does() {
        let mut tokens = tokens(500);
        tokens.give_back(5);
        assert_eq!(tokens.balance(), 100, "never more than there were");
        while tokens.withdraw(false).is_some() {}
        for _ in 0..4 {
            tokens.give_back(1);
            assert_eq!(tokens.withdraw(false), None);
        }
        tokens.give_back(1);
        assert_eq!(
            tokens.withdraw(false),
            Some(5),
            "five first-try successes are one retry"
        );
        tokens.give_back(10);
        assert_eq!(tokens.withdraw(true), Some(10));
        // The tokens do not pay for a retry after a timeout, but they may pay for another one.
        tokens.give_back(5);
        assert_eq!(
            (tokens.withdraw(true), tokens.withdraw(false)),
            (None, Some(5))
        );
    }

    #[test]
    fn throttling_of_grpc_allows_retries_above_half_of_the_tokens() {
        // maxTokens 10, tokenRatio 0.1, as in gRPC's own example.
        let mut throttling = Throttling::new(Throttle {
            tokens: 10,
            ratio: 0.1,
        });
        let mut allowed = Vec::new();
        for _ in 0..6 {
            throttling.fail();
            allowed.push((throttling.allows(), throttling.balance()));
        }
        let expected = [
            (true, 4),
            (true, 3),
            (true, 2),
            (true, 1),
            (false, 0),
            (false, 0),
        ];
        assert_eq!(allowed, expected);
        // The count is 4. Eleven successes raise it above 5, ten do not.
        for _ in 0..10 {
            throttling.succeed();
        }
        assert!(!throttling.allows());
        throttling.succeed();
        assert!(throttling.allows());
        for _ in 0..1_000 {
            throttling.succeed();
        }
        assert_eq!(throttling.balance(), 5);
        for _ in 0..1_000 {
            throttling.fail();
        }
        assert_eq!((throttling.left, throttling.balance()), (0, 0));
    }
}
