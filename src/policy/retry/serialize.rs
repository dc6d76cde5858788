//! A budget as it is written in a file: the usual kind is a flat table, the other kinds are named.

use std::time::Duration;

use super::budget::{Budget, BudgetKind, Reserve, Terms, Throttle};

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BudgetForm {
    unlimited: bool,
    ratio: f64,
    min_retries_per_second: u32,
    #[serde(with = "crate::serde_forms::duration")]
    window: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    reserve: Option<Reserve>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttle: Option<Throttle>,
}

impl Default for BudgetForm {
    fn default() -> Self {
        Budget::new().into()
    }
}

impl TryFrom<BudgetForm> for Budget {
    type Error = &'static str;

    fn try_from(written: BudgetForm) -> Result<Self, Self::Error> {
        let terms = Terms {
            ratio: written.ratio,
            min_retries_per_second: written.min_retries_per_second,
            window: written.window,
        };
        let unlimited = written.unlimited.then_some(BudgetKind::Unlimited);
        let reserve = written.reserve.map(BudgetKind::Reserve);
        let throttle = written.throttle.map(BudgetKind::Throttle);
        let mut kinds = [unlimited, reserve, throttle].into_iter().flatten();
        match (kinds.next(), kinds.next()) {
            (None, _) => Ok(Self(BudgetKind::Rate(terms))),
            (Some(kind), None) if terms == Terms::DEFAULT => Ok(Self(kind)),
            (Some(_), None) => Err(
                "budget: ratio, min_retries_per_second and window cannot be set beside unlimited, reserve or throttle",
            ),
            (Some(_), Some(_)) => Err("budget: only one of unlimited, reserve and throttle"),
        }
    }
}

impl From<Budget> for BudgetForm {
    fn from(budget: Budget) -> Self {
        let (mut reserve, mut throttle, mut terms) = (None, None, Terms::DEFAULT);
        match budget.0 {
            BudgetKind::Unlimited => {}
            BudgetKind::Rate(own) => terms = own,
            BudgetKind::Reserve(own) => reserve = Some(own),
            BudgetKind::Throttle(own) => throttle = Some(own),
        }
        Self {
            unlimited: budget.0 == BudgetKind::Unlimited,
            ratio: terms.ratio,
            min_retries_per_second: terms.min_retries_per_second,
            window: terms.window,
            reserve,
            throttle,
        }
    }
}
