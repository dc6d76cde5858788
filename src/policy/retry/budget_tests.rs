use super::*;

const SECS: fn(u64) -> Duration = Duration::from_secs;

fn terms(budget: Budget) -> Terms {
    match budget.0 {
        BudgetKind::Rate(terms) => terms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_ratio_of_six_decimal_places_is_a_whole_number_of_units() {
    for units in 0..=2_000_000 {
        let budget = Budget::new().ratio(f64::from(units) / 1_000_000.0);
        assert_eq!(terms(budget).deposit(), i64::from(units));
    }
    let most = Budget::new().ratio(1_000.0);
    assert_eq!(terms(most).deposit(), 1_000 * TOKEN);
}

#[test]
fn reserve_is_the_rate_for_as_long_as_is_saved() {
    assert_eq!(terms(Budget::new()).reserve(), 100 * TOKEN);
    let most = Budget::new()
        .min_retries_per_second(u32::MAX)
        .window(SECS(60));
    assert_eq!(terms(most).reserve(), i64::from(u32::MAX) * 60 * TOKEN);
}

#[test]
fn setting_made_on_an_unlimited_budget_limits_it() {
    assert_eq!(Budget::unlimited().0, BudgetKind::Unlimited);
    assert_eq!(Budget::reserve(500).ratio(0.2), Budget::new());
    assert_eq!(Budget::unlimited().ratio(0.2), Budget::new());
}

#[test]
fn limits_of_the_settings_are_within_them() {
    for budget in [
        Budget::new(),
        Budget::unlimited(),
        Budget::new().ratio(0.0).min_retries_per_second(0),
        Budget::new()
            .ratio(1_000.0)
            .min_retries_per_second(u32::MAX),
        Budget::new().window(SECS(1)),
        Budget::new().window(SECS(60)),
    ] {
        assert!(budget.validate().is_ok(), "{budget:?}");
    }
}
