//! The claims on the policies, and their measures.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::TROUBLES;
use crate::backend::Trouble;
use crate::ledger::SLOT;
use crate::run::{Policies, Report};

/// A sentence about the runs, and whether it is true.
pub(crate) struct Claim {
    pub(crate) text: &'static str,
    pub(crate) measured: String,
    pub(crate) holds: bool,
}

/// All claims.
pub(crate) fn claims(reports: &[Report]) -> Vec<Claim> {
    vec![
        nothing_is_wasted(reports),
        some_failures(reports),
        outage(
            reports,
            Policies::Retry,
            "retries alone triple the load of an outage",
            2.9..=3.0,
        ),
        outage(
            reports,
            Policies::RetryBudget,
            "with a budget it is about 1.21",
            1.16..=1.26,
        ),
        outage(
            reports,
            Policies::RetryBudgetBreaker,
            "with a breaker it is no more than 1.05",
            0.0..=1.05,
        ),
        throttled(reports),
        full_at_once(reports),
        full_within_one_open_time(reports),
    ]
}

fn nothing_is_wasted(reports: &[Report]) -> Claim {
    let well = || {
        reports
            .iter()
            .filter(|report| report.trouble == Trouble::Fails(0.0))
    };
    let as_without =
        |report: &Report| report.load == 1.0 && report.succeeded == 1.0 && report.wasted == 0;
    let most = well().map(|report| report.load).fold(0.0, f64::max);
    Claim {
        text: "while nothing fails, policies send nothing of their own",
        measured: format!("a load of {most:.2}"),
        holds: well().count() == Policies::ALL.len() && well().all(as_without),
    }
}

fn some_failures(reports: &[Report]) -> Claim {
    let succeeded =
        |policies| of(reports, policies, Trouble::Fails(0.3)).map(|report| report.succeeded);
    let without = succeeded(Policies::None).unwrap_or(f64::NAN);
    let with = succeeded(Policies::RetryBudgetBreaker).unwrap_or(f64::NAN);
    Claim {
        text: "at 30 % failures all policies together are no worse than none",
        measured: format!(
            "{:.1} % succeed instead of {:.1} %",
            with * 100.0,
            without * 100.0
        ),
        holds: with >= without,
    }
}

fn outage(
    reports: &[Report],
    policies: Policies,
    text: &'static str,
    expected: RangeInclusive<f64>,
) -> Claim {
    let load = of(reports, policies, Trouble::Fails(1.0)).map_or(f64::NAN, |report| report.load);
    Claim {
        text,
        measured: format!("{load:.3}"),
        holds: expected.contains(&load),
    }
}

fn throttled(reports: &[Report]) -> Claim {
    let of = |policies| of(reports, policies, Trouble::Throttles);
    let succeeded = |policies| of(policies).map_or(f64::NAN, |report| report.succeeded);
    let [plain, others @ ..] = Policies::ALL.map(succeeded);
    let shown = others.map(|share| format!("{:.1}", share * 100.0));
    Claim {
        text: "of a service that throttles, no policy gets fewer responses than a plain client",
        measured: format!("{} % instead of {:.1} %", shown.join(", "), plain * 100.0),
        holds: others.iter().all(|share| *share >= plain),
    }
}

fn full_at_once(reports: &[Report]) -> Claim {
    let longest = reports
        .iter()
        .filter(|report| report.policies != Policies::RetryBudgetBreaker)
        .map(|report| report.full_again)
        .max()
        .unwrap_or(Duration::MAX);
    Claim {
        text: "without a breaker, traffic is full as soon as the service is well",
        measured: format!("after {:.1} s at most", longest.as_secs_f64()),
        holds: longest.is_zero(),
    }
}

fn full_within_one_open_time(reports: &[Report]) -> Claim {
    let broken = || {
        let breaker = |report: &&Report| report.policies == Policies::RetryBudgetBreaker;
        reports.iter().filter(breaker)
    };
    let in_time = |report: &Report| {
        // One slot for the probe's response, and one because only whole slots are counted.
        report.full_again <= report.open_time.unwrap_or_default() + SLOT * 2
    };
    let total = of(reports, Policies::RetryBudgetBreaker, Trouble::Fails(1.0));
    let measured = total.map_or_else(String::new, |total| {
        format!(
            "{:.1} s of {:.1} s after a total outage",
            total.full_again.as_secs_f64(),
            total.open_time.unwrap_or_default().as_secs_f64()
        )
    });
    Claim {
        text: "with a breaker, traffic is full within the open time that was running",
        measured,
        holds: broken().count() == TROUBLES.len()
            && broken().all(in_time)
            && total.is_some_and(|total| total.open_time.is_some()),
    }
}

fn of(reports: &[Report], policies: Policies, trouble: Trouble) -> Option<&Report> {
    reports
        .iter()
        .find(|report| report.policies == policies && report.trouble == trouble)
}
